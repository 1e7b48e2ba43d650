"""``wsseg check``: reads every file once, and says what is wrong before any long work."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from wsseg.data.layouts import CaseList, detect, find_cases
from wsseg.data.layouts.cases import shared_patients
from wsseg.data.planning import Planned, make_plan
from wsseg.data.preparation import CASES, plan_table
from wsseg.data.preparation_checks import (
    check_classes,
    check_distinct,
    check_labelled,
    check_named_once,
    say_classes,
    warn_of_equal_masks,
    warn_of_likely_mistakes,
    warn_of_nesting,
)
from wsseg.data.spec import DataSpec
from wsseg.data.splits import check_tagged, make_folds
from wsseg.data.tag_counts import count_tags, doubts_of_levels, problems_of_tags
from wsseg.data.workers import mapper
from wsseg.inspection.doubts import (
    doubts_of_confounding,
    doubts_of_copies,
    doubts_of_modalities,
    doubts_of_patients,
    doubts_of_shortcuts,
)
from wsseg.inspection.facts import Facts, Question, find_facts
from wsseg.inspection.report import data_rows, data_table, tag_table
from wsseg.inspection.sheets import sheets
from wsseg.utils.errors import InputError, attempt
from wsseg.utils.files import check_writable
from wsseg.visualisation.sheet import save_png

# Options of `prepare` that it decides about itself.
DECIDED = ("normalisation", "window", "body", "longest_side", "spacing", "size")
DRAWN_CASES = 240  # evenly chosen cases of which pictures are kept for the sheets; bounds memory


@dataclass(frozen=True)
class Verdict:
    """What is wrong with a data set.

    Attributes:
        problems: What must be corrected, a line each.
        doubts: What should be looked at, a line each.
    """

    problems: tuple[str, ...]
    doubts: tuple[str, ...]


def check(
    source: Path,
    *,
    layout: Literal["table", "folders", "brats", "decathlon", "lgg", "datalist"] | None = None,
    modalities: list[str] | None = None,
    classes: dict[str, list[int]] | None = None,
    axis: Literal["axial", "coronal", "sagittal"] = "axial",
    folds: int = 5,
    out: Path = Path("check"),
    workers: int | None = None,
) -> Path:
    """Verify a data set before any long work, and draw contact sheets of it.

    Every file is read to its end once. What cannot be used is listed, a line for each file, and
    what should be looked at: classes that are always or never tagged, likely copies, and likely
    shortcuts, such as burnt-in text that only tagged images have. Exits with status 2 if something
    must be corrected. Options have the meaning that they have for ``wsseg prepare``.

    Args:
        source: The table or datalist, or the folder of the cases.
        layout: How files are named and listed: table, folders, brats, decathlon, lgg or datalist;
            by default what the source looks like.
        modalities: Names of the images to use; by default all.
        classes: For each class the mask labels that make it; by default the classes of the layout.
        axis: Slicing axis.
        folds: Number of folds that there must be enough patients for.
        out: Folder for the contact sheets: of each class, tagged and untagged images.
        workers: Cases worked on at the same time; by default one per processor core.

    Returns:
        The folder of the contact sheets.

    Raises:
        InputError: Something must be corrected.
    """
    source, out = Path(source), Path(out)
    check_writable(out)
    kind = layout or _detect(source)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = attempt(_list, kind, source, modalities, classes)
    if isinstance(found, InputError):  # for which a column that is no class may be the reason
        print_verdict(Verdict((), tuple(str(warning.message) for warning in caught)))
        raise found
    listed, chosen = found
    say_classes(source, kind, listed, classes)
    labels = listed.labels or frozenset({0}.union(*chosen.values()))
    usable = [case for case in listed.cases if case.mask is not None or case.tags is not None]
    step = -(-len(usable) // DRAWN_CASES)
    every = -(-len(usable) // CASES)
    questions = [
        Question(case, chosen, labels, axis, draws=number % step == 0, measures=number % every == 0)
        for number, case in enumerate(usable)
    ]
    with mapper(workers, len(questions)) as run:
        read = run("Reading", find_facts, questions) if questions else []
    facts = [each for each in read if isinstance(each, Facts)]
    unusable = [each for each in read if isinstance(each, str)]
    said = [str(warning.message) for warning in caught]
    planned = plan_of(facts)
    spec = DataSpec(listed.modalities, chosen, axis, planned.spacing, (0, 0), planned.plan)
    verdict = judge(source, listed, spec, facts, unusable, folds)
    verdict = replace(verdict, doubts=(*said, *verdict.doubts))
    patients = patients_of(listed)
    if facts:
        print_tables(facts, planned, listed.modalities, list(chosen), patients)
        for sheet in sheets(facts, list(chosen)):
            save_png(sheet.picture, out / sheet.name)
        print(f"Contact sheets are in {out}")
    print_verdict(verdict)
    if verdict.problems:
        count = len(verdict.problems)
        raise InputError(f"{source}: {count} thing{'s' * (count > 1)} to correct, as listed above")
    options = _options(modalities, classes, axis, folds)
    command = shlex.join(["wsseg", "prepare", kind, str(source), "STORE", *options])
    print(f"Ready to prepare: {command}")
    return out


def patients_of(listed: CaseList) -> dict[str, str]:
    """Return whose each case is; a case of nobody's is a patient by itself."""
    shared = shared_patients(listed.cases)
    return {case.id: shared.get(case.id) or case.patient or case.id for case in listed.cases}


def judge(
    source: Path,
    listed: CaseList,
    spec: DataSpec,
    facts: Sequence[Facts],
    unusable: Sequence[str],
    folds: int,
) -> Verdict:
    """Say what is wrong with a data set.

    Args:
        source: Where it is, for messages.
        listed: The cases.
        spec: How images are going to be taken.
        facts: Of the cases that can be used.
        unusable: Why others cannot be.
        folds: Number of folds.
    """
    names, patients = list(spec.classes), patients_of(listed)
    checks = [attempt(each, source, listed) for each in (check_labelled, check_named_once)]
    content = {one.case: one.content for one in facts}
    checks.append(attempt(check_distinct, source, content))
    problems = [line for message in unusable for line in line_for_each_file(message)]
    errors = [*listed.faults, *(each for each in checks if each)]
    problems += [line for error in errors for line in str(error).splitlines()]
    if not facts:
        return Verdict(tuple(problems) or (f"{source}: holds no case that can be used",), ())
    counts = count_tags([one.tags for one in facts])
    never_or_always = problems_of_tags(counts, names)
    problems += never_or_always
    if not never_or_always:
        dealt = attempt(_check_folds, source, facts, patients, names, folds)
        problems += [str(dealt)] if dealt else []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_equal_masks({one.case: one.mask for one in facts})
        if all(case.mask is None for case in listed.cases):
            warn_of_nesting([one.tags.tolist() for one in facts], spec.classes)
        warn_of_likely_mistakes([_record(one, spec) for one in facts], spec)
    doubts = [
        *(str(warning.message) for warning in caught),
        *doubts_of_copies(facts, patients),
        *doubts_of_patients(patients),
        *doubts_of_modalities(facts),
        *doubts_of_levels(counts, names),
        *doubts_of_shortcuts(facts, names, patients),
        *doubts_of_confounding(facts, names, patients),
    ]
    return Verdict(tuple(problems), tuple(doubts))


def _detect(source: Path) -> str:
    try:
        return detect(source)
    except InputError as error:
        more = f", or start with `wsseg init {source}`" if source.is_dir() else ""
        raise InputError(f"{error}{more}") from None


def _list(
    layout: str,
    source: Path,
    modalities: list[str] | None,
    classes: dict[str, list[int]] | None,
) -> tuple[CaseList, dict[str, tuple[int, ...]]]:
    """Return the cases, and the mask labels of each class."""
    listed = find_cases(layout, source, modalities)
    if classes and not listed.classes and listed.labels:
        given = {label for labels in classes.values() for label in labels}
        listed = replace(listed, labels=listed.labels | given)
    return listed, check_classes(source, listed, classes)


def plan_of(facts: Sequence[Facts]) -> Planned:
    """Return what ``wsseg prepare`` will decide about the images before it reads their tags."""
    fingerprints = [one.fingerprint for one in facts if one.fingerprint]
    unit = "px" if all(one.unit == "px" for one in facts) else "mm"
    return make_plan(fingerprints, [one.whole for one in facts], unit, dict.fromkeys(DECIDED))


def _record(facts: Facts, spec: DataSpec) -> dict[str, Any]:
    """Return what the warnings of ``wsseg prepare`` are made of."""
    longest, whole = spec.plan.longest_side, facts.whole
    scales = [pixel / (spec.spacing or pixel) for pixel in whole.pixel]
    scales = [longest / max(whole.plane)] * 2 if longest else scales
    body = [round(length * scale) for length, scale in zip(facts.body, scales, strict=True)]
    return {"geometry": {"pixel": whole.pixel}, "anatomy": body, "doubt": facts.doubt}


def line_for_each_file(message: str) -> list[str]:
    """Return the first line about each file, out of why a case cannot be used.

    Example:
        >>> colours = [f"a.png: {name} is empty; replace it" for name in ("red", "green")]
        >>> line_for_each_file(chr(10).join([*colours, "mask.png (case a): is missing"]))
        ['a.png: red is empty; replace it', 'mask.png (case a): is missing']
    """
    lines = message.splitlines()
    files = [line.partition(": ")[0].partition(" (case ")[0] for line in lines]
    return [lines[files.index(file)] for file in dict.fromkeys(files)]


def _check_folds(
    source: Path,
    facts: Sequence[Facts],
    patients: dict[str, str],
    classes: list[str],
    folds: int,
) -> None:
    owners = {one.case: patients[one.case] for one in facts}
    dealt = make_folds(list(owners), folds, 0.1, 0, owners)
    tags = {one.case: one.tags.tolist() for one in facts}
    check_tagged(str(source), dealt, tags, classes)


def print_tables(
    facts: Sequence[Facts],
    planned: Planned,
    modalities: Sequence[str],
    classes: Sequence[str],
    patients: dict[str, str],
) -> None:
    """Print what is known of all cases, and how they are going to be taken."""
    from rich.console import Console

    counts = count_tags([one.tags for one in facts])
    volumes = any(one.shape[0] > 1 for one in facts)
    console = Console()
    console.print(data_table(data_rows(facts, modalities, patients)))
    console.print(tag_table(counts, classes, volumes=volumes))
    entries = {**planned.plan.to_dict(), "spacing": planned.spacing}
    console.print(plan_table(entries, planned.reasons))


def print_verdict(verdict: Verdict) -> None:
    """Print what is wrong, a line each."""
    for title, lines in (("To correct", verdict.problems), ("To look at", verdict.doubts)):
        if lines:
            print(f"\n{title}:")
            for number, line in enumerate(lines, 1):
                print(f"  {number}. {line}")
    print()


def _options(
    modalities: list[str] | None, classes: dict[str, list[int]] | None, axis: str, folds: int
) -> list[str]:
    options = ["--modalities", f"[{', '.join(modalities)}]"] if modalities else []
    if classes:
        labels = ", ".join(f"{name}: {values}" for name, values in classes.items())
        options += ["--classes", f"{{{labels}}}"]
    options += ["--axis", axis] if axis != "axial" else []
    return options + (["--folds", str(folds)] if folds != 5 else [])
