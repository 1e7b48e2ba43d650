"""Reads DICOM: a folder of one series, whatever its files are called, or one file."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsseg.data.readers.affines import affine_of, problem_of_affine
from wsseg.data.readers.header import COLOURS, PICTURE_AFFINE, Header
from wsseg.data.readers.refusal import check_memory, refusing
from wsseg.data.readers.values import plain
from wsseg.utils.errors import InputError, attempt

if TYPE_CHECKING:
    from pydicom import Dataset

MAGIC, MAGIC_PLACE = b"DICM", 128
ENDINGS = (".dcm", ".dicom", ".ima")
SERIES_MARK = "#"  # between a folder and the series in it that is meant
# How far a slice may lie from where it would be among evenly spaced ones, as a share of their
# distance: files round positions. Not measured.
LARGEST_SHIFT = 0.1
SAME_PLACE = 0.01  # millimetres
PALETTE, WHITE_IS_LEAST = "PALETTE COLOR", "MONOCHROME1"  # photometric interpretations
SAME_DIRECTION = 1e-3  # by which the cosines of two slices of one direction differ at most


class _Plane(NamedTuple):
    """A slice: a file, or a frame of one.

    Attributes:
        file: Its file.
        frame: Its number in the file.
        place: [3], where its first pixel is, in LPS+ millimetres; None if the file does not say.
        directions: [2, 3], of growing columns and of growing rows.
        spacing: Distance of columns and of rows.
        thickness: Distance to the next slice, if there should be one.
        scale: What holds the slope and the intercept of its values.
    """

    file: Path
    frame: int
    place: NDArray[np.float64] | None
    directions: NDArray[np.float64]
    spacing: NDArray[np.float64]
    thickness: float
    scale: Dataset


def is_dicom(file: Path) -> bool:
    """Tell whether a file is DICOM by what it begins with."""
    with file.open("rb") as stream:
        return stream.read(MAGIC_PLACE + len(MAGIC))[MAGIC_PLACE:] == MAGIC


def names_series(path: Path) -> bool:
    """Tell whether a path names a series of a folder that exists."""
    folder, series = _split(path)
    return series is not None and folder.is_dir()


def images_of(folder: Path, files: Sequence[Path]) -> list[Path]:
    """Return the images that DICOM files of a folder make.

    Args:
        folder: The folder.
        files: Some of its files.

    Returns:
        The folder, if all images are slices of one series; otherwise the folder with ``#`` and the
        UID of each series of slices, and every other file.
    """
    series: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        head = attempt(_head, file, "")
        if isinstance(head, InputError):
            series[str(file)].append(file)  # which will be refused by its name
        elif "Rows" in head:
            placed = "ImagePositionPatient" in head
            series[str(head.get("SeriesInstanceUID", "")) if placed else str(file)].append(file)
    if [len(slices) > 1 for slices in series.values()] == [True]:
        return [folder]
    return [
        Path(f"{folder}{SERIES_MARK}{uid}") if len(slices) > 1 else slices[0]
        for uid, slices in series.items()
    ]


def read_header(path: Path, case: str, *, mask: bool = False) -> Header:
    """Read where the slices of a series lie.

    Args:
        path: A file, a folder, or a folder with ``#`` and the description or the UID of one of its
            series.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: There is no image, a file is damaged, there are several series and none is
            chosen, or the slices make no volume.
    """
    with refusing(_split(path)[0], case, "DICOM file"):
        return _ordered(_series(path, case), path, case)[0]


def read_voxels(path: Path, case: str, *, mask: bool = False) -> tuple[Header, NDArray[Any]]:
    """Read a series.

    Args:
        path: As given to :func:`read_header`.
        case: Name of the case, for messages.
        mask: Makes no difference.

    Raises:
        InputError: As :func:`read_header`, or the pixels of a file are damaged.
    """
    with refusing(_split(path)[0], case, "DICOM file"):
        header, planes = _ordered(_series(path, case), path, case)
        check_memory(int(np.prod(header.shape)) * header.channels * 4)
        frames: dict[Path, NDArray[Any]] = {}
        for file in dict.fromkeys(plane.file for plane in planes):
            with refusing(file, case, "DICOM file"):
                frames[file] = _frames(file)
        slices = [_scaled(frames[plane.file][plane.frame], plane) for plane in planes]
        array = np.stack(slices)  # [planes, rows, columns, channels]
        return header, plain(array.transpose(2, 1, 0, 3))


def slices_of(path: Path, case: str) -> list[tuple[Path, int]]:
    """Return the file of each slice and its number in that file, as the voxels are ordered.

    Args:
        path: As given to :func:`read_header`.
        case: Name of the case, for messages.

    Raises:
        InputError: As :func:`read_header`.
    """
    planes = _ordered(_series(path, case), path, case)[1]
    return [(plane.file, plane.frame) for plane in planes]


def described(path: Path) -> tuple[Path, str] | None:
    """Return the folder and the description of one of several series in a folder.

    Args:
        path: As :func:`images_of` returns it.

    Returns:
        None of any other path, or if the series has no description.
    """
    if not names_series(path):
        return None
    name = str(_series(path, "")[0][1].get("SeriesDescription", ""))
    return (_split(path)[0], name) if name else None


def files_of(path: Path) -> list[Path]:
    """Return the files of a series in the order of their names."""
    return [file for file, _ in _series(path, "")]


def _split(path: Path) -> tuple[Path, str | None]:
    """Separate a path from the series that it names."""
    name = str(path)
    marks = [place for place, letter in enumerate(name) if letter == SERIES_MARK]
    if path.exists() or not marks:
        return path, None
    # Names of folders may hold the mark as well, and so may descriptions.
    mark = next((place for place in marks if Path(name[:place]).is_dir()), marks[-1])
    return Path(name[:mark]), name[mark + 1 :]


def _series(path: Path, case: str) -> list[tuple[Path, Dataset]]:
    """Return the files of the series that is meant, with their headers."""
    place, chosen = _split(path)
    found: defaultdict[str, list[tuple[Path, Dataset]]] = defaultdict(list)
    for pattern in ("[!.]*", "*/**/[!.]*"):  # folders below count if there is no image in this one
        for file in sorted(place.glob(pattern)) if place.is_dir() else [place]:
            if file == place or (file.is_file() and may_be_dicom(file)):
                head = _head(file, case)
                if "Rows" in head:  # reports and the like have no pixels
                    found[str(head.get("SeriesInstanceUID", ""))].append((file, head))
        if found:
            break
    if not found:
        raise InputError(
            f"{place} (case {case}): holds no DICOM image; name a file of another format, or a "
            "folder of DICOM files"
        )
    names = {uid: str(files[0][1].get("SeriesDescription", "")) for uid, files in found.items()}
    matches = [uid for uid in found if chosen in (None, uid, names[uid])]
    if len(matches) == 1:
        return found[matches[0]]
    listed = ", ".join(
        f"{names[uid]!r} of {len(files)} files ({uid})" for uid, files in found.items()
    )
    problem = "holds several series" if matches else f"holds no series {chosen!r}"
    raise InputError(
        f"{place} (case {case}): {problem}; write {SERIES_MARK} and the description or the number "
        f"of one behind the path, out of {listed}"
    )


def may_be_dicom(file: Path) -> bool:
    """Tell whether a file should be DICOM by its name or by what it begins with."""
    return file.suffix.lower() in ENDINGS or is_dicom(file)


def _head(file: Path, case: str) -> Dataset:
    with refusing(file, case, "DICOM file"):
        return _read(file, stop_before_pixels=True)


def _read(file: Path, *, stop_before_pixels: bool = False) -> Dataset:
    import pydicom

    # What breaks the standard, but matters to no image, is not announced.
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    warnings.filterwarnings("ignore", module="pydicom")
    data = pydicom.dcmread(file, stop_before_pixels=stop_before_pixels, force=True)
    if "Rows" not in data and not is_dicom(file):
        raise ValueError("no header of DICOM")
    return data


def _planes(file: Path, head: Dataset, case: str) -> list[_Plane]:
    """Return the slices of a file; a film has none."""
    from pydicom import Dataset

    frames = head.get("PerFrameFunctionalGroupsSequence")
    if frames is None:
        if int(head.get("NumberOfFrames") or 1) > 1:
            raise InputError(
                f"{file} (case {case}): is a film of {head.NumberOfFrames} frames, which say no "
                "place; save those that you need as pictures"
            )
        return [_plane(file, 0, head, head, head, head)]
    nothing = [Dataset()]
    shared = (head.get("SharedFunctionalGroupsSequence") or nothing)[0]

    def group(own: Dataset, name: str) -> Dataset:
        found: Dataset = (own.get(name) or shared.get(name) or nothing)[0]
        return found

    return [
        _plane(
            file,
            number,
            group(own, "PlanePositionSequence"),
            group(own, "PlaneOrientationSequence"),
            group(own, "PixelMeasuresSequence"),
            group(own, "PixelValueTransformationSequence"),
        )
        for number, own in enumerate(frames)
    ]


def _plane(
    file: Path, frame: int, place: Dataset, turn: Dataset, sizes: Dataset, scale: Dataset
) -> _Plane:
    first, directions, spacing = (
        None if value is None else np.array(value, np.float64)
        for value in (
            place.get("ImagePositionPatient"),
            turn.get("ImageOrientationPatient"),
            sizes.get("PixelSpacing"),
        )
    )
    thickness = float(sizes.get("SpacingBetweenSlices") or sizes.get("SliceThickness") or 1)
    if first is None or directions is None or spacing is None:
        return _Plane(file, frame, None, np.eye(3)[:2], np.ones(2), thickness, scale)
    return _Plane(file, frame, first, directions.reshape(2, 3), spacing[::-1], thickness, scale)


def _ordered(
    series: Sequence[tuple[Path, Dataset]], path: Path, case: str
) -> tuple[Header, list[_Plane]]:
    """Return the slices of a series from one end to the other, and where they lie."""
    what = f"{path} (case {case})"
    planes = [plane for file, head in series for plane in _planes(file, head, case)]
    shapes = {(head.Columns, head.Rows, _channels(head)) for _, head in series}
    columns, rows, channels = min(shapes)
    shape, names = (columns, rows, len(planes)), COLOURS if channels == len(COLOURS) else ()
    one = planes[0]
    if len(planes) == 1 and one.place is None:
        return Header(shape, PICTURE_AFFINE, channels, "px", names), planes
    if any(plane.place is None for plane in planes):
        raise InputError(f"{what}: has slices that say no place; name the files one by one")
    turned = max(np.abs(plane.directions - one.directions).max() for plane in planes)
    spread = max(np.abs(plane.spacing / one.spacing - 1).max() for plane in planes)
    if len(shapes) > 1 or max(turned, spread) > SAME_DIRECTION:
        raise InputError(
            f"{what}: has slices of several directions, sizes or spacings, such as those that "
            "plan the others; move one sort of them to a folder of its own"
        )
    normal = np.cross(*one.directions)
    planes.sort(key=lambda plane: float(normal @ plane.place))
    places = np.array([plane.place for plane in planes])
    step = normal * one.thickness
    if len(planes) > 1:
        step = (places[-1] - places[0]) / (len(planes) - 1)
        _check_steps(places, step, planes, what)
    affine = affine_of([*(one.directions * one.spacing[:, None]), step], places[0])
    if problem := problem_of_affine(affine):
        raise InputError(f"{what}: {problem}")
    return Header(shape, affine, channels, "mm", names), planes


def _check_steps(
    places: NDArray[np.float64], step: NDArray[np.float64], planes: Sequence[_Plane], what: str
) -> None:
    shift = np.linalg.norm(places - places[0] - np.arange(len(places))[:, None] * step, axis=1)
    if shift.max() <= LARGEST_SHIFT * np.linalg.norm(step) and step.any():
        return
    gaps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    if gaps.min() < SAME_PLACE:
        twice = " and ".join(plane.file.name for plane in planes[gaps.argmin() :][:2])
        raise InputError(
            f"{what}: has several slices at one place, such as {twice} (copies, echoes, b-values "
            "or points of time?); move all but one of each place elsewhere"
        )
    widest = gaps.argmax()
    raise InputError(
        f"{what}: has slices {gaps.min():.3g} to {gaps.max():.3g} mm apart, the most between "
        f"{planes[widest].file.name} and {planes[widest + 1].file.name}; add those that lack"
    )


def _channels(head: Dataset) -> int:
    palette = head.get("PhotometricInterpretation") == PALETTE
    return len(COLOURS) if palette else int(head.get("SamplesPerPixel") or 1)


def _frames(file: Path) -> NDArray[Any]:
    """Return the frames of a file [frames, rows, columns, channels] as they are stored."""
    from pydicom.pixels.processing import apply_color_lut

    data = _read(file)
    pixels: NDArray[Any] = data.pixel_array
    if data.PhotometricInterpretation == PALETTE:
        pixels = apply_color_lut(pixels, data)
    if data.PhotometricInterpretation == WHITE_IS_LEAST:
        white = -1 if data.PixelRepresentation else 2 ** int(data.BitsStored) - 1
        pixels = (white - pixels.astype(np.int64)).astype(pixels.dtype)
    frames = int(data.get("NumberOfFrames") or 1)
    return pixels.reshape(frames, data.Rows, data.Columns, -1)


def _scaled(pixels: NDArray[Any], plane: _Plane) -> NDArray[Any]:
    from pydicom.pixels.processing import apply_modality_lut

    values: NDArray[Any] = apply_modality_lut(pixels, plane.scale)
    return values.astype(np.float32) if values.dtype.kind == "f" else values
