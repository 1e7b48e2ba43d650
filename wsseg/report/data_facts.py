"""The section on data: what was trained on, and how images are taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wsseg.data.spec import DataSpec, format_pixel
from wsseg.data.splits import SPLITS
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.data.tag_counts import Counts, count_tags, doubts_of_levels, problems_of_tags
from wsseg.report.run_folder import RunFolder

PURPOSES = {
    "train": "training",
    "val": "validation (curves)",
    "test": "test (held out)",
}
PLAN = ("normalisation", "body", "unit", "longest_side", "spacing", "symmetric", "comparable")


@dataclass(frozen=True)
class SplitRow:
    """How much a split holds.

    Attributes:
        purpose: What its cases are for.
        cases: Number of cases.
        patients: Number of patients.
        slices: Number of slices.
        tagged: Tagged slices of each class.
    """

    purpose: str
    cases: int
    patients: int
    slices: int
    tagged: list[int]


@dataclass(frozen=True)
class TagRow:
    """How often a class is tagged in training.

    Attributes:
        name: The class.
        tagged: Slices with the tag.
        untagged: Slices without.
        unknown: Slices of which nobody knows.
        cases: Cases with a tagged slice.
        cases_without: Cases without one.
        levels: Share of tagged slices at each level, None where there is no slice.
    """

    name: str
    tagged: int
    untagged: int
    unknown: int
    cases: int
    cases_without: int
    levels: list[float | None]


@dataclass(frozen=True)
class DataFacts:
    """The section on data.

    Attributes:
        facts: Pairs of a heading and a text.
        plan: Of each entry its name, its value and why it has this value.
        lacking: Why there is no more than this, and what to do.
        splits: Of the fold that was trained.
        tags: Of each class, in training.
        doubts: What keeps classes from being learnt.
    """

    facts: list[tuple[str, str]]
    plan: list[tuple[str, str, str]]
    lacking: str
    splits: list[SplitRow] = field(default_factory=list)
    tags: list[TagRow] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)


def data_facts(run: RunFolder) -> DataFacts:
    """Collect the facts of a run's data.

    Args:
        run: The run.
    """
    spec, store = run.spec, run.store
    plan = plan_rows(spec, {} if store is None else store.reasons)
    if store is None:
        return DataFacts(spec_facts(spec), plan, run.lacking)
    store_facts = [("store", str(store.root)), *spec_facts(spec), ("fold", str(run.fold))]
    training = run.splits["train"]
    counts = count_tags([case.tags.numpy() for case in training])
    volumes = any(len(case.tags) > 1 for case in training)
    doubts = problems_of_tags(counts, list(spec.classes))
    doubts += doubts_of_levels(counts, list(spec.classes)) if volumes else []
    splits = [split_row(store, name, run.splits[name]) for name in SPLITS]
    return DataFacts(
        store_facts,
        plan,
        "",
        [row for row in splits if row.cases],
        tag_rows(counts, list(spec.classes), volumes=volumes),
        doubts,
    )


def spec_facts(spec: DataSpec) -> list[tuple[str, str]]:
    """Describe slices."""
    height, width = spec.size
    facts = [
        ("images", _images(spec)),
        ("classes", ", ".join(spec.classes)),
        ("slices", f"{width} x {height} pixels, {spec.axis}"),
    ]
    if spec.in_colour or spec.plan.unit == "px":
        facts[-1] = ("slices", f"{width} x {height} pixels")
    elif spec.pixel is not None:
        facts.append(("pixels", format_pixel(spec.pixel)))
    return facts


def _images(spec: DataSpec) -> str:
    words = "colour pictures" if spec.in_colour else ", ".join(spec.modalities)
    return words if spec.cell is None else f"{words}, as cells of {spec.cell} pixels"


def plan_rows(spec: DataSpec, reasons: dict[str, str]) -> list[tuple[str, str, str]]:
    """Return the entries of a plan with their reasons.

    Example:
        >>> spec = DataSpec(("T1",), {"cyst": (1,)}, "axial", None, (32, 32))
        >>> plan_rows(spec, {"body": "100% of the air has one value"})[1]
        ('body', 'nonzero', '100% of the air has one value')
    """
    entries = {**vars(spec.plan), "spacing": spec.spacing}
    return [(name, _shown(entries[name]), reasons.get(name, "")) for name in PLAN]


def split_row(store: SliceStore, name: str, cases: Sequence[CaseSlices]) -> SplitRow:
    """Count what a split holds."""
    patients = {store.patients.get(case.id, case.id) for case in cases}
    tagged = [
        int(sum((case.tags[:, c] > 0.5).sum() for case in cases))
        for c in range(len(store.spec.classes))
    ]
    return SplitRow(
        PURPOSES[name],
        len(cases),
        len(patients),
        sum(len(case.tags) for case in cases),
        tagged,
    )


def tag_rows(counts: Counts, classes: Sequence[str], *, volumes: bool) -> list[TagRow]:
    """Return how often each class is tagged; levels only of volumes."""
    rows = []
    for name, slices, cases, levels, unknown in zip(classes, *counts, strict=True):
        total = levels.sum(axis=1)
        shares = levels[:, 1] / np.maximum(total, 1)
        known = zip(shares.tolist(), total.tolist(), strict=True)
        by_level = [share if count else None for share, count in known] if volumes else []
        rows.append(
            TagRow(
                name,
                int(slices[1]),
                int(slices[0]),
                int(unknown),
                int(cases[1]),
                int(cases[0]),
                by_level,
            )
        )
    return rows


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)
