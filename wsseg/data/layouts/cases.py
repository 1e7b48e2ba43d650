"""What every layout says about a folder of volumes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from wsseg.data.case_ids import check_id
from wsseg.data.tags import SliceTags
from wsseg.utils.errors import InputError

TIME_POINT = re.compile(r"(BraTS-\w+-\d+)-\d{3}")


class ImageFile(NamedTuple):
    """Where the image of one modality is.

    Attributes:
        path: A file or folder that :mod:`wsseg.data.readers` reads.
        channel: Which of the file's channels; None if it has but one.
    """

    path: Path
    channel: int | None = None


class MaskFile(NamedTuple):
    """A mask that shows one label: wherever it is not 0.

    Attributes:
        path: The file.
        label: What it shows. Masks of one label are joined; those of others may overlap.
    """

    path: Path
    label: int


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case, and its tags where they are no file.

    Attributes:
        id: Name of the case, unique in its list.
        images: The image of each modality, in channel order.
        mask: Label volume (or folder of mask slices), or a mask for each label, if there is any;
            no mask at all, (), if it is known to be empty.
        tags: Table of slice tags, or the tags themselves, if there are any.
        patient: Whose volumes they are, if that is said.
    """

    id: str
    images: dict[str, ImageFile]
    mask: Path | tuple[MaskFile, ...] | None = None
    tags: Path | SliceTags | None = None
    patient: str | None = None

    @property
    def paths(self) -> list[Path]:
        """Every file (or folder of slices) of the case once, images first."""
        images = [image.path for image in self.images.values()]
        tables = [self.tags] if isinstance(self.tags, Path) else []
        return list(dict.fromkeys([*images, *self.masks, *tables]))

    @property
    def masks(self) -> list[Path]:
        """The files of the mask."""
        if isinstance(self.mask, Path):
            return [self.mask]
        return [mask.path for mask in self.mask or ()]


@dataclass(frozen=True)
class CaseList:
    """The cases of a source and what their masks may hold.

    Attributes:
        modalities: Names of the channels, in channel order.
        classes: The layout's default classes, each with the mask labels that make it.
        labels: Every label that a mask may hold, 0 included; None for those of the classes.
        cases: The cases, sorted by id.
        faults: Why others cannot be used.
    """

    modalities: tuple[str, ...]
    classes: dict[str, tuple[int, ...]]
    labels: frozenset[int] | None
    cases: tuple[CaseFiles, ...]
    faults: tuple[InputError, ...] = ()


def shared_patients(cases: Iterable[CaseFiles]) -> dict[str, str]:
    """Return the patient of each case that is not the only one of its patient.

    Names of BraTS 2023 end in the number of a time point; other cases are a patient each, unless
    their list says more.

    Args:
        cases: All cases.

    Returns:
        Patients by name of the case.
    """
    patients = {case.id: case.patient or _patient_of(case.id) for case in cases}
    count = Counter(patients.values())
    return {case: patient for case, patient in patients.items() if count[patient] > 1}


def choose_modalities(
    source: Path, wanted: Sequence[str] | None, known: Iterable[str]
) -> tuple[str, ...]:
    """Check the wanted modalities against those that a layout knows.

    Args:
        source: Where the cases are, for the message.
        wanted: Names in the order of the channels; None for all that the layout knows.
        known: Names that the layout knows.

    Returns:
        The names of the channels.

    Raises:
        InputError: A name is unknown or comes twice, or there is none.
    """
    names = tuple(known)
    chosen = names if wanted is None else tuple(wanted)
    unknown = [name for name in chosen if name not in names]
    if unknown or not chosen or len(set(chosen)) < len(chosen):
        problem = f"has no modality {unknown[0]}" if unknown else f"modalities {list(chosen)}"
        raise InputError(f"{source}: {problem}; choose each once from {', '.join(names)}")
    return chosen


def sorted_cases(
    source: Path,
    cases: Iterable[CaseFiles],
    expected: str,
    faults: Sequence[InputError] = (),
) -> tuple[CaseFiles, ...]:
    """Sort cases by id; refuse none at all, two of one id, and ids that no file can be named after.

    Args:
        source: Where the cases are, for the message.
        cases: The cases found.
        expected: What the layout looks for, for the message.
        faults: Why others cannot be used; if there are any, there need not be a case.

    Raises:
        InputError: There is no case, two have the same id, or one cannot be used.
    """
    found: dict[str, CaseFiles] = {}
    for case in cases:
        check_id(source, case.id)
        if case.id in found:
            places = [str(each.paths[0]) for each in (found[case.id], case)]
            raise InputError(
                f"{source}: two cases are called {case.id} ({places[0]}, {places[1]}); "
                "rename or remove one"
            )
        found[case.id] = case
    if not found and not faults:
        raise InputError(f"{source}: holds no case; expected {expected}")
    return tuple(found[name] for name in sorted(found))


def with_empty_masks(cases: Sequence[CaseFiles]) -> list[CaseFiles]:
    """Give an empty mask to cases without findings and without a mask, if others have masks.

    Few people draw masks of nothing. Without one the case would not be scored.

    Args:
        cases: Cases whose tags are in the list itself.
    """
    drawn = any(case.mask for case in cases)

    def complete(case: CaseFiles) -> CaseFiles:
        empty = isinstance(case.tags, SliceTags) and case.tags.show_nothing
        return replace(case, mask=()) if drawn and empty and case.mask is None else case

    return list(map(complete, cases))


def pick_images(
    case: str, place: Path, images: Mapping[str, ImageFile], modalities: Sequence[str]
) -> dict[str, ImageFile]:
    """Return the images of the modalities, in channel order.

    Args:
        case: Name of the case, for the message.
        place: Where the case is, for the message.
        images: What the case has.
        modalities: What it must have.

    Raises:
        InputError: A modality is missing.
    """
    for name in modalities:
        if name not in images:
            raise InputError(
                f"{place}: case {case} has no {name} image (it has {', '.join(images) or 'none'}); "
                "add the file, or leave out the case or the modality"
            )
    return {name: images[name] for name in modalities}


def _patient_of(case: str) -> str:
    match = TIME_POINT.fullmatch(case)
    return match[1] if match else case
