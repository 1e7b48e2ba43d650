"""``wsseg prepare``: volumes of any supported layout become a slice store."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from wsseg.data.anatomy import enough
from wsseg.data.case_preparation import (
    CaseJob,
    Fit,
    build_case,
    case_entry,
    fit_case,
    plan_fit,
)
from wsseg.data.file_checks import check_files, check_spacing
from wsseg.data.fingerprint import take_fingerprint
from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.hashes import hash_case
from wsseg.data.layouts import find_cases
from wsseg.data.layouts.cases import shared_patients
from wsseg.data.likeness import decide_comparable, decide_symmetric, some_slices
from wsseg.data.plan import Reference
from wsseg.data.planning import Planned, given, make_plan
from wsseg.data.preparation_checks import (
    check_classes,
    check_distinct,
    check_labelled,
    check_named_once,
    check_options,
    check_output,
    say_classes,
    warn_of_equal_masks,
    warn_of_levels,
    warn_of_likely_mistakes,
    warn_of_nesting,
)
from wsseg.data.readers import Header
from wsseg.data.space import check_space_of_store
from wsseg.data.spec import FORMAT, DataSpec, shown_names
from wsseg.data.splits import Fold, check_tagged, make_folds
from wsseg.data.store_files import IMAGES, MANIFEST, VALID, ArrayFolder
from wsseg.data.unfinished_store import Record, UnfinishedStore
from wsseg.data.workers import Mapper, mapper
from wsseg.utils.errors import InputError, attempt, results

if TYPE_CHECKING:
    from rich.table import Table

Entry = dict[str, Any]


def prepare(
    layout: Literal["table", "folders", "brats", "decathlon", "lgg", "datalist"],
    source: Path,
    out: Path,
    *,
    modalities: list[str] | None = None,
    classes: dict[str, list[int]] | None = None,
    axis: Literal["axial", "coronal", "sagittal"] = "axial",
    spacing: float | None = None,
    size: list[int] | None = None,
    normalisation: Literal["zscore", "window", "picture"] | None = None,
    window: list[float] | None = None,
    body: Literal["nonzero", "threshold", "whole"] | None = None,
    longest_side: int | None = None,
    symmetric: bool | None = None,
    comparable: bool | None = None,
    slice_step: int = 1,
    min_anatomy: float = 0.1,
    folds: int = 5,
    val_fraction: float = 0.1,
    seed: int = 0,
    workers: int | None = None,
    overwrite: bool = False,
) -> Path:
    """Turn images into a store of normalised slices with tags, masks apart, and splits by case.

    How images are taken is decided from some of them and from the tags; the plan is printed with
    its reasons, and the options from ``--spacing`` to ``--comparable`` override single entries.
    What can be known without reading volumes is checked first, of all cases. Nothing is written to
    OUT before all of them are prepared. A run that was interrupted, or that found files it cannot
    use, resumes where it stopped when the same command is given again; a complete store is kept,
    unless ``--overwrite true`` is given.

    Args:
        layout: How the files are listed or named: table (a line for each image, with its tags),
            folders (one for each class and one without findings), datalist, brats, decathlon or
            lgg.
        source: The table or datalist, or the folder of the cases.
        out: Folder to write the store to.
        modalities: Names of the images to use, in channel order; by default all.
        classes: For each class the mask labels that make it, such as '{"core": [1, 4]}'; by
            default the classes of the layout. Columns of a table, and folders, have the labels
            1, 2, ...
        axis: Slicing axis.
        spacing: In-plane pixel size of the slices in mm, or in pixels of pictures; by default that
            of the source, and for CT one at which planes have 256 pixels.
        size: Height and width of slices in pixels, multiples of 16; larger anatomy is cropped. By
            default large enough for the largest case.
        normalisation: How intensities are brought to one scale: zscore (each case by the values
            inside its own body), window (Hounsfield units of CT) or picture (all by the same
            statistics).
        window: Least and greatest Hounsfield unit of CT that are told apart, such as [-175, 250].
        body: What counts as body: nonzero (all that differs from the background), threshold (what
            is denser or brighter than air) or whole (every pixel).
        longest_side: Pixels to which the longer side of each picture is resampled.
        symmetric: Whether the two sides of slices look alike, as those of heads do; models then see
            how they differ, unless they are told otherwise.
        comparable: Whether the same place of different patients can be compared; clusters then see
            how places differ from what is normal there.
        slice_step: Keep every n-th slice.
        min_anatomy: Least share of a slice that must hold anatomy for it to be kept.
        folds: Number of folds; each case is in the test split of exactly one. There must be at
            least as many patients.
        val_fraction: Share of the remaining cases used for validation only.
        seed: Seed of the splits.
        workers: Cases worked on at the same time; by default one per processor core.
        overwrite: Give true to prepare anew where a store is already, whatever it was made of; its
            files stay until the new store is complete.

    Returns:
        The store.

    Raises:
        InputError: The source, a case or an option cannot be used.
    """
    options = {key: value for key, value in locals().items() if key not in NOT_IN_RESULT}
    options = json.loads(json.dumps(options))  # tuples are lists, as the manifest will say
    source, out = Path(source), Path(out).resolve()  # what a link points to is replaced, not it
    check_options(options, workers)
    listed = find_cases(layout, source, modalities)
    if classes and not listed.classes and listed.labels:  # a list that leaves the classes to us
        given = {label for labels in classes.values() for label in labels}
        listed = replace(listed, labels=listed.labels | given)
    chosen = check_classes(source, listed, classes)
    say_classes(source, layout, listed, classes)
    check_labelled(source, listed)
    check_named_once(source, listed)
    check_output(out)
    store = UnfinishedStore(out)
    store.finish_move()
    labels = listed.labels or frozenset({0}.union(*chosen.values()))
    given_size = (size[0], size[1]) if size else (0, 0)
    spec = DataSpec(listed.modalities, chosen, axis, spacing, given_size)
    jobs = [CaseJob(case, spec, labels, slice_step, min_anatomy) for case in listed.cases]
    with mapper(workers, len(jobs)) as run:
        check = partial(check_files, classes=chosen, axis=axis)
        checked = attempt(run, "Checking", check, listed.cases)
        results([*listed.faults, checked])
        headers = [] if isinstance(checked, InputError) else checked
        if spacing is not None:
            check_spacing(listed.cases, headers, axis, spacing)
        if not overwrite and _is_current(run, out, options, jobs):
            manifest = json.loads((out / MANIFEST).read_text())
        else:
            manifest = _prepare(run, jobs, headers, source, store, options)
    print_summary(manifest, out)
    return out


CASES = 32  # whose images are looked at to make the plan
PLANNED = ("size", "spacing", "plan", "pixel")
NOT_IN_RESULT = ("source", "out", "workers", "overwrite")


def _prepare(
    run: Mapper,
    jobs: Sequence[CaseJob],
    headers: Sequence[Header],
    source: Path,
    store: UnfinishedStore,
    options: Entry,
) -> Entry:
    """Make the store; return its manifest."""
    files = [job.files for job in jobs]
    patients = shared_patients(files)
    dealing = (options["folds"], options["val_fraction"], options["seed"])
    folds = make_folds([case.id for case in files], *dealing, patients)
    with store.held():
        planned = _plan(run, jobs, headers, options)
        planned_spec = replace(jobs[0].spec, plan=planned.plan, spacing=planned.spacing)
        jobs = [replace(job, spec=planned_spec) for job in jobs]
        masks, step = any(case.mask is not None for case in files), options["slice_step"]
        check_space_of_store(store, headers, planned_spec, step, masks=masks)
        try:
            spec, fits, entries = _build(run, jobs, source, store, options, folds)
        except InputError as error:
            raise InputError(
                f"{error}\n{store.folder}: keeps the finished cases; the same command resumes"
            ) from None
        if needed := [fit for fit in fits if fit.needed]:
            run("Fitting", partial(fit_case, store=store), needed)
        for entry in entries:
            entry |= {"patient": patients[entry["id"]]} if entry["id"] in patients else {}
        seen = some_slices(run, store.images, store.valid, entries, spec.size)
        likeness = {
            "symmetric": given(options["symmetric"]) or decide_symmetric(seen),
            "comparable": given(options["comparable"]) or decide_comparable(seen),
        }
        found = {name: decision.value for name, decision in likeness.items()}
        reasons = {**planned.reasons, **{name: each.reason for name, each in likeness.items()}}
        spec = replace(spec, plan=replace(spec.plan, **found))
        manifest = _manifest(spec, options, entries, jobs) | {"reasons": reasons}
        store.complete(manifest, folds, options["seed"])
    return manifest


def _plan(
    run: Mapper, jobs: Sequence[CaseJob], headers: Sequence[Header], options: Entry
) -> Planned:
    """Decide how images are to be taken, from some of them."""
    some = jobs[:: -(-len(jobs) // CASES)]
    fingerprints = [each for each in run("Looking", take_fingerprint, some) if each]
    planes = [whole_plane_geometry(h.shape, h.affine, options["axis"], None) for h in headers]
    unit = "px" if all(header.unit == "px" for header in headers) else "mm"
    return make_plan(fingerprints, planes, unit, options)


def _build(
    run: Mapper,
    jobs: Sequence[CaseJob],
    source: Path,
    store: UnfinishedStore,
    options: Entry,
    folds: list[Fold],
) -> tuple[DataSpec, list[Fit], list[Entry]]:
    """Write the arrays of all cases; return what they are, what is left to do, and the entries."""
    files = [job.files for job in jobs]
    records = run("Preparing", partial(build_case, store=store), jobs)
    check_distinct(source, {c.id: r["content"] for c, r in zip(files, records, strict=True)})
    warn_of_equal_masks({c.id: r.get("mask") for c, r in zip(files, records, strict=True)})
    warn_of_likely_mistakes(records, jobs[0].spec)
    sizes = [jobs[0].spec.size] if options["size"] else [r["anatomy"] for r in records]
    pixel = np.median([record["geometry"]["spacing"] for record in records], axis=0)
    reference = Reference.over([Reference.from_dict(record["reference"]) for record in records])
    plan = replace(jobs[0].spec.plan, reference=reference)
    spec = replace(jobs[0].spec, size=enough(*sizes), plan=plan, pixel=tuple(pixel.tolist()))
    fits, entries = _entries(jobs, records, spec.size, store)
    tags = {entry["id"]: entry["tags"] for entry in entries}
    check_tagged(str(store.out), folds, tags, list(spec.classes))
    warn_of_levels(tags.values(), list(spec.classes))
    if all(job.files.mask is None for job in jobs):  # else the labels are those of the masks
        warn_of_nesting(tags.values(), spec.classes)
    return spec, fits, entries


def _entries(
    jobs: Sequence[CaseJob],
    records: Sequence[Record],
    size: tuple[int, int],
    store: UnfinishedStore,
) -> tuple[list[Fit], list[Entry]]:
    """Return what becomes of the arrays of each case, and its entry in the manifest."""

    def describe(job: CaseJob, record: Record) -> tuple[Fit, Entry]:
        fit = plan_fit(job, record, size)
        return fit, case_entry(job, record, fit, store)

    described = results(attempt(describe, *each) for each in zip(jobs, records, strict=True))
    return [fit for fit, _ in described], [entry for _, entry in described]


def _is_current(run: Mapper, out: Path, options: Entry, jobs: Sequence[CaseJob]) -> bool:
    """Tell whether the store exists already; refuse to replace another one."""
    if not (out / MANIFEST).is_file():
        return False
    try:
        found = json.loads((out / MANIFEST).read_text())
        hashes = {case["id"]: case["sha256"] for case in found["cases"]}
        # A datalist names its classes itself, so equal options do not mean equal classes.
        # What was planned follows from the files and the options.
        planned = {name: jobs[0].spec.to_dict()[name] for name in PLANNED}
        spec = {**found["spec"], **planned}
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{out / 'manifest.json'}: is damaged; give --overwrite true or remove the store"
        ) from None
    if found.get("format") != FORMAT:
        raise InputError(
            f"{out}: was prepared by another version of wsseg; name another folder or give "
            "--overwrite true"
        )
    files = [job.files for job in jobs]
    patients = {case["id"]: case["patient"] for case in found["cases"] if "patient" in case}
    alike = found.get("options") == options and spec == jobs[0].spec.to_dict()
    alike = alike and list(spec["classes"]) == list(jobs[0].spec.classes)  # as the channels are
    alike = alike and patients == shared_patients(files)
    names = [case.id for case in files]
    same = hashes == dict(zip(names, run("Hashing", hash_case, files), strict=True))
    if same and alike:
        lost = [name for name in hashes if not _has_arrays(out, name)]
        if lost:
            raise InputError(
                f"{out}: the arrays of case {lost[0]} are missing; give --overwrite true to "
                "prepare the store again"
            )
        return True
    what = f"with other options{_differing(found, options)}" if same else "from other files"
    raise InputError(f"{out}: was prepared {what}; name another folder or give --overwrite true")


def _differing(manifest: Entry, options: Entry) -> str:
    """List the options whose values differ from those of a store."""
    before = manifest.get("options", {})
    names = [n for n in options if json.dumps(before.get(n)) != json.dumps(options[n])]
    told = ", ".join(f"{name} {before.get(name)}, not {options[name]}" for name in names)
    return f" ({told})" if told else ""


def _has_arrays(out: Path, name: str) -> bool:
    return all(name in ArrayFolder(out / folder) for folder in (IMAGES, VALID))


def _manifest(
    spec: DataSpec, options: Entry, entries: list[Entry], jobs: Sequence[CaseJob]
) -> Entry:
    return {
        "format": FORMAT,
        "spec": spec.to_dict(),
        "layout": options["layout"],
        "has_masks": any(job.files.mask is not None for job in jobs),
        "options": options,
        "cases": entries,
    }


def print_summary(manifest: dict[str, Any], out: Path) -> None:
    """Print a short table of a store.

    Args:
        manifest: Its manifest.
        out: Where it is.
    """
    from rich.console import Console
    from rich.table import Table

    spec = manifest["spec"]
    rows = np.array([row for case in manifest["cases"] for row in case["tags"]], float)
    shares = of_classes(spec["classes"], (rows > 0.5).mean(axis=0))
    unknown = np.isnan(rows).mean(axis=0)
    table = Table(show_header=False, title="Slice store", title_justify="left")
    table.add_row("cases", str(len(manifest["cases"])))
    table.add_row("slices", f"{len(rows)} of {spec['size'][0]} x {spec['size'][1]} pixels")
    table.add_row("modalities", shown_names(spec["modalities"]))
    table.add_row("tagged slices", shares)
    if unknown.any():
        table.add_row("unknown tags", of_classes(spec["classes"], unknown))
    table.add_row("masks", "for validation and test" if manifest["has_masks"] else "none")
    table.add_row("folds", str(manifest["options"]["folds"]))
    Console().print(table, plan_table({**spec, **spec["plan"]}, manifest["reasons"]))
    print(f"in {out}")


def of_classes(classes: Iterable[str], shares: Iterable[float]) -> str:
    """Return a share for each class in words.

    Example:
        >>> of_classes(["cyst", "mass"], [0.25, 0.5])
        'cyst 25%, mass 50%'
    """
    return ", ".join(f"{name} {share:.0%}" for name, share in zip(classes, shares, strict=True))


def plan_table(entries: Mapping[str, Any], reasons: Mapping[str, str]) -> Table:
    """Return a table of a plan.

    Args:
        entries: Values by name, of more than the plan if need be.
        reasons: Why each entry of the plan is as it is.
    """
    from rich.table import Table

    table = Table("entry", "value", "why", title="Plan", title_justify="left")
    for name, reason in reasons.items():
        table.add_row(name, _shown(entries.get(name)), reason)
    return table


def _shown(value: Any) -> str:
    return {None: "none", True: "yes", False: "no"}.get(value, str(value))
