"""What is known of a case once its files were read to their end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsseg.data.body import background_of
from wsseg.data.file_checks import check_files
from wsseg.data.fingerprint import PLANES, Fingerprint, fingerprint_of
from wsseg.data.geometry import Geometry, whole_plane_geometry
from wsseg.data.hashes import hash_labels, hash_volume
from wsseg.data.layouts.cases import CaseFiles
from wsseg.data.planes import box_of, to_planes
from wsseg.data.planning import decide_window
from wsseg.data.readers import COLOURS, Header
from wsseg.data.tags import compare_tags, read_tags
from wsseg.data.volumes import class_masks, read_case_images, read_case_mask
from wsseg.inspection import features
from wsseg.inspection.drawing import Drawn, chosen_slices, colours_of, draw
from wsseg.inspection.duplicates import reduced
from wsseg.utils.errors import InputError, attempt

LEAST_BODY = 0.1  # share of the box around the body that a slice must hold, as of `prepare`
COMPARED_SLICES = 6  # of a volume, by which copies are recognised


@dataclass(frozen=True)
class Question:
    """A case, and what is asked of it.

    Attributes:
        files: Of the case.
        classes: Mask labels of each class.
        labels: Every label that the mask may hold.
        axis: Slicing axis.
        draws: Whether pictures are needed.
        measures: Whether a fingerprint is needed.
    """

    files: CaseFiles
    classes: dict[str, tuple[int, ...]]
    labels: frozenset[int]
    axis: str
    draws: bool = True
    measures: bool = True


@dataclass(frozen=True)
class Facts:
    """What is known of a case.

    Attributes:
        case: Its id.
        whole: How its slices lie.
        body: Height and width of the box around its body, in pixels.
        unit: Of lengths, "mm" or "px".
        kind: Type of its files, such as "png, colour".
        content: Hash of each modality.
        mask: Hash of its mask, if it has one that is not empty.
        tags: Of each slice that holds something of the body 0 or 1 for each class, NaN where
            unknown, [S, C].
        doubt: Where tags and mask disagree, if they do.
        look: Some slices, reduced, by which copies are recognised.
        features: Properties that no finding has, by name.
        drawn: Pictures of some slices.
        fingerprint: What its intensities are like, for the plan; None if nobody asked.
    """

    case: str
    whole: Geometry
    body: tuple[int, int]
    unit: str
    kind: str
    content: Mapping[str, str]
    mask: str | None
    tags: NDArray[np.float64]
    doubt: str | None
    look: NDArray[np.float32]
    features: Mapping[str, float]
    drawn: tuple[Drawn, ...]
    fingerprint: Fingerprint | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number, height and width of its slices."""
        return self.whole.depth, *self.whole.plane


def find_facts(question: Question) -> Facts | str:
    """Read all files of a case; return what they show, or why they cannot be used."""
    found = attempt(_facts, question)
    return str(found) if isinstance(found, InputError) else found


def _facts(question: Question) -> Facts:
    files, classes = question.files, question.classes
    check_files(files, classes=classes, axis=question.axis)
    images = read_case_images(files, list(files.images), as_is=True)
    whole = whole_plane_geometry(images.source.shape, images.affine, question.axis, None)
    planes = np.stack([_planes(volume[None], whole)[:, 0] for volume in images.volumes], axis=-1)
    picture = images.source.is_picture
    masks, mask = None, None
    if files.mask:
        labels = read_case_mask(files, question.labels, images)
        mask = hash_labels(labels.volume, labels.box)
        masks = _planes(class_masks(labels, classes), whole)
    tags, known, doubt = tags_of_case(question, len(planes), masks)
    backgrounds = [background_of(volume) for volume in images.volumes]
    body = np.ones(planes.shape[:3], bool)
    if not picture:
        body = np.any([planes[..., n] != value for n, value in enumerate(backgrounds)], axis=0)
    rows = held_slices(body) & known
    numbers = np.flatnonzero(rows)
    if not len(numbers):
        raise InputError(f"{files.id}: the case has no slice with a tag that shows anything")
    chosen = numbers[np.linspace(0, len(numbers) - 1, COMPARED_SLICES).astype(int)]
    middle = planes[numbers[len(numbers) // 2]]
    shown_as = colours_of(list(files.images))
    step = -(-len(planes) // PLANES)
    fingerprint = None
    if question.measures or not picture:
        some = list(np.moveaxis(planes[::step], -1, 0))
        fingerprint = fingerprint_of(some, backgrounds, picture)
    window = decide_window([fingerprint]).value if fingerprint and fingerprint.hounsfield else None
    drawn = []
    for number in chosen_slices(tags, numbers) if question.draws else []:
        shown = None if masks is None else masks[number]
        one = draw(planes[number][..., shown_as], body[number], shown, whole, window)
        drawn.append(Drawn(int(number), tuple(tags[number].tolist()), one))
    return Facts(
        files.id,
        whole,
        _box(body),
        images.source.unit,
        kind_of(files, images.source, images.volumes[0].dtype),
        {
            name: hash_volume(volume)
            for name, volume in zip(files.images, images.volumes, strict=True)
        },
        mask,
        tags[rows],
        doubt,
        reduced(planes[chosen[:1] if len(planes) == 1 else chosen].mean(axis=-1)),
        properties(middle, whole, picture=picture, colours=middle[..., shown_as]),
        tuple(drawn),
        fingerprint if question.measures else None,
    )


def tags_of_case(
    question: Question, slices: int, masks: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_], str | None]:
    """Return the tags of a case [S, C], which slices have any [S], and where the mask disagrees.

    Args:
        question: The case.
        slices: Their number.
        masks: [S, C, H, W], if there is a mask.

    Raises:
        InputError: The tags cannot be used.
    """
    source, case, classes = question.files.tags, question.files.id, question.classes
    shown = None if masks is None else np.array(masks.any(axis=(2, 3)))
    if source is None:
        if shown is None:
            raise InputError(f"case {case}: has neither mask nor tags; add one")
        return shown.astype(float), np.ones(slices, bool), None
    table = read_tags(source, case, classes, slices)
    tags, known = np.zeros((slices, len(classes))), np.zeros(slices, bool)
    for number, row in table.items():
        tags[number], known[number] = np.array(row, float), True  # NaN for None
    doubt = None
    if shown is not None:
        doubt = compare_tags(source, case, table, shown.astype(int).tolist())
    return tags, known, doubt


def _box(body: NDArray[np.bool_]) -> tuple[int, int]:
    """Return height and width of the box around a body [S, H, W]."""
    rows, columns = box_of(np.array(body.any(axis=0)))
    return rows.stop - rows.start, columns.stop - columns.start


def held_slices(body: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which slices of a body [S, H, W] hold enough of it to be of use."""
    height, width = _box(body)
    area = height * width
    held: NDArray[np.bool_] = body.sum(axis=(1, 2)) >= max(LEAST_BODY * area, 1)
    return held


def properties(
    plane: NDArray[Any], whole: Geometry, *, picture: bool, colours: NDArray[Any]
) -> dict[str, float]:
    """Return properties of an image that no finding has, by their names in sentences.

    Args:
        plane: A slice of it, [H, W, modalities].
        whole: How its slices lie.
        picture: Whether it is a picture, whose border says something.
        colours: What is shown of the plane, [H, W, 1 or 3].
    """
    height, width = plane.shape[:2]
    found = {"width": float(width), "height": float(height), "width over height": width / height}
    if not picture:
        found |= {"number of slices": float(whole.depth), "thickness of slices": whole.thickness}
        return found | {"size of pixels": whole.pixel[0]}
    bright = plane.mean(axis=2)
    found["number of small bright marks"] = float(features.marks(bright))
    if colours.shape[2] == len(COLOURS):
        found["number of small coloured marks"] = float(features.coloured_marks(colours))
    found["width of a frame of one value"] = features.frame(bright)
    return found | features.border_and_centre(bright)


def _planes(volume: NDArray[Any], whole: Geometry) -> NDArray[Any]:
    return to_planes(volume, whole.orientation, whole.axis)


def kind_of(files: CaseFiles, first: Header, dtype: np.dtype[Any]) -> str:
    """Return the type of the files, their channels and the depth of pictures, in words.

    Args:
        files: Of the case.
        first: The header of the first image.
        dtype: Of its values.
    """
    paths = dict.fromkeys(image.path for image in files.images.values())
    names = [path.name.removesuffix(".gz") if path.is_file() else "folder" for path in paths]
    words = [", ".join(dict.fromkeys(name.rpartition(".")[2].lower() for name in names))]
    if first.channels > 1:
        words.append("in colour" if first.names == COLOURS else f"of {first.channels} channels")
    if first.is_picture and dtype != np.uint8:
        words.append("with fractions" if dtype.kind == "f" else f"of {8 * dtype.itemsize} bits")
    return " ".join(words)


def equal_modalities(facts: Sequence[Facts]) -> dict[tuple[str, str], list[str]]:
    """Return the cases in which two modalities are the same, by the names of these."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in facts:
        seen: dict[str, str] = {}
        for name, digest in one.content.items():
            other = seen.setdefault(digest, name)
            if other != name:
                found.setdefault((other, name), []).append(one.case)
    return found
