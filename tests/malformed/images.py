"""Images of every format that are damaged in every way, and what volumes must not hold."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)
from PIL import Image

from tests.malformed.damages import OF_ANY_FILE, Damage, cell, change, flip, put
from tests.malformed.entry import Malformed
from tests.malformed.examples import AFFINE, SHAPE, patient, picture, save

DATALIST = "prepare datalist list.json out --folds 2 --workers 1 --min_anatomy 0"
TABLE = "prepare table tags.csv out --folds 2 --workers 1"
VOLUMES = ("nii", "nii.gz", "hdr", "mgz", "mgh", "nrrd", "nhdr", "mha", "mhd", "dcm")
PICTURES = ("png", "jpg", "bmp", "gif", "webp", "tif")
CHECKED = ("nii.gz", "mgz", "nrrd", "mha", "png")  # formats with checksums
NIFTI = bytes(nib.Nifti1Image(patient(9)[0], AFFINE).to_bytes())


def write_volume(path: Path) -> Path:
    """Write a volume in the format that its name says; return its largest file."""
    volume = patient(7)[0]
    if path.suffix in (".mgz", ".mgh"):
        nib.save(nib.MGHImage(volume, AFFINE), path)
    else:
        plane = path.suffix == ".dcm"
        array = volume[..., 3:4] if plane else volume
        image = sitk.GetImageFromArray(array.T)
        packed = path.suffix in (".nrrd", ".mha")  # not those with the voxels in another file
        sitk.WriteImage(image, str(path), useCompression=packed)
    return max(path.parent.glob(f"{path.name.split('.')[0]}.*"), key=lambda p: p.stat().st_size)


def damaged_volume(ending: str, damage: Damage) -> None:
    """Give the first case a damaged volume of a format."""
    path = Path(f"one.{ending}")
    change("cases", 0, "images", "A", value=path.name)(Path("list.json"))
    damage(write_volume(path))


def damaged_picture(ending: str, damage: Damage) -> None:
    """Give the first line of the table a damaged picture of a format."""
    path = Path(f"one.{ending}")
    cell(2, "image", path.name)(Path("tags.csv"))
    picture(path, 7)
    damage(path)


def header(**fields: Any) -> None:
    """Change fields of the header of a NIfTI file."""
    raw = bytearray(NIFTI)
    changed = nib.Nifti1Header(raw[:348], check=False)
    for name, value in fields.items():
        changed[name] = value
    raw[:348] = changed.binaryblock
    Path("one.nii").write_bytes(raw)
    change("cases", 0, "images", "A", value="one.nii")(Path("list.json"))


def voxels(name: str, volume: np.ndarray, affine: np.ndarray = AFFINE) -> None:
    """Replace the volume of a file."""
    save(Path(name), volume, affine)


def of_formats() -> Iterator[Malformed]:
    """Damage a file of each format."""
    kinds = (
        (VOLUMES, "volumes", DATALIST, damaged_volume, put(b"\x89PNG\r\n\x1a\n" + bytes(500))),
        (PICTURES, "pictures", TABLE, damaged_picture, put(NIFTI)),
    )
    for endings, example, command, spoil, other in kinds:
        for ending in endings:
            damages = {**OF_ANY_FILE, "another format": other}
            damages |= {"a flipped bit": flip(0.6)} if ending in CHECKED else {}
            for name, damage in damages.items():
                yield Malformed(
                    f"{ending}: {name}", example, command, "one.", partial(spoil, ending, damage)
                )


HEADERS: dict[str, dict[str, Any]] = {
    **{
        f"size {n}": {"pixdim": [1, 1, n, 1, 0, 0, 0, 0], "sform_code": 0, "qform_code": 0}
        for n in (0.0, -1.0, np.nan, np.inf, 1e30, 1e-30, 1000.0)
    },
    **{f"offset {n}": {"vox_offset": n} for n in (0, 4, 348, -16, 1e9, np.nan, np.inf)},
    **{
        f"shape {n}": {"dim": [3, *n, 1, 1, 1, 1]}
        for n in ((0, 26, 6), (-5, 26, 6), (24, 26, 7), (32767, 32767, 32767), (24, 26, 5))
    },
    **{f"axes {n}": {"dim": [n, 24, 26, 6, 1, 1, 1, 1]} for n in (-1, 8, 100)},
    **{f"type {n}": {"datatype": n} for n in (0, 1, 32, 128, 1536, 1792, 2304, 9999)},
    **{f"unit {n}": {"xyzt_units": n} for n in (1, 5)},
    **{f"{name} 128": {name: 128} for name in ("qform_code", "sform_code")},
    **{
        f"row {row}": {"srow_x": row}
        for row in ([0, 0, 0, 0], [np.nan, 0, 0, 0], [1e9, 0, 0, 0], [1, 0, 0, np.nan])
    },
    "slope": {"scl_slope": 2, "scl_inter": np.inf},
    "magic": {"magic": b"none"},
    "header size": {"sizeof_hdr": 7},
}

BOX, LABELS = patient(5)
SHIFTED = AFFINE + np.array([[0, 0, 0, 5]] + [[0, 0, 0, 0]] * 3)
CONTENTS: dict[str, tuple[str, Any]] = {
    "nan": ("c0_A", partial(voxels, "c0_A.nii.gz", np.where(BOX > 120, np.nan, BOX))),
    "infinite": ("c0_A", partial(voxels, "c0_A.nii.gz", np.where(BOX > 120, np.inf, BOX))),
    "zeros": ("c0_A", partial(voxels, "c0_A.nii.gz", np.zeros(SHAPE, np.int16))),
    "constant": ("c0_A", partial(voxels, "c0_A.nii.gz", np.ones(SHAPE, np.int16))),
    "constant in a box": ("c0_A", partial(voxels, "c0_A.nii.gz", (BOX > 0).astype(np.int16))),
    "complex": ("c0_A", partial(voxels, "c0_A.nii.gz", BOX.astype(np.complex64))),
    "a point": ("c0_A", partial(voxels, "c0_A.nii.gz", BOX[10:11, 10:11, 3:4])),
    "four axes": ("c0_A", partial(voxels, "c0_A.nii.gz", np.stack([BOX, BOX + 1], 3))),
    "five axes": ("c0_A", partial(voxels, "c0_A.nii.gz", np.stack([BOX] * 3, 3)[..., None, :])),
    "other shape": ("c0_B", partial(voxels, "c0_B.nii.gz", BOX[1:])),
    "other place": ("c0_B", partial(voxels, "c0_B.nii.gz", BOX, SHIFTED)),
    "other orientation": ("c0_B", partial(voxels, "c0_B.nii.gz", BOX, AFFINE[[1, 0, 2, 3]])),
    "mask: shape": ("c0_mask", partial(voxels, "c0_mask.nii.gz", LABELS[1:])),
    "mask: place": ("c0_mask", partial(voxels, "c0_mask.nii.gz", LABELS, SHIFTED)),
    "mask: label 7": ("c0_mask", partial(voxels, "c0_mask.nii.gz", LABELS * np.uint8(7))),
    "mask: fraction": ("c0_mask", partial(voxels, "c0_mask.nii.gz", LABELS * np.float32(0.5))),
    "mask: negative": ("c0_mask", partial(voxels, "c0_mask.nii.gz", -LABELS.astype(np.int16))),
    "mask: nan": ("c0_mask", partial(voxels, "c0_mask.nii.gz", np.where(LABELS, np.nan, 0.0))),
    "mask: two channels": ("c0_mask", partial(voxels, "c0_mask.nii.gz", np.stack([LABELS] * 2, 3))),
    "copy": ("c0 and c1 have the same", lambda: copy_case("c0", "c1")),
}


def copy_case(one: str, other: str) -> None:
    """Give a case the images of another."""
    for end in ("_A", "_B"):
        Path(f"{other}{end}.nii.gz").write_bytes(Path(f"{one}{end}.nii.gz").read_bytes())


def mode(name: str, kind: str, ending: str = "png") -> None:
    """Save a picture, or a mask, with pixels of another kind."""
    pixels = np.random.default_rng(0).integers(0, 99, (32, 48)).astype(np.uint8)
    Image.fromarray(pixels).convert(kind).save(f"{name}.{ending}")


OF_PICTURES: dict[str, tuple[str, Any]] = {
    "mask: shape": ("0_mask.png", lambda: Image.new("L", (47, 32)).save("0_mask.png")),
    "mask: many labels": ("1_mask.png", partial(mode, "1_mask", "L")),
    "mask: colours": ("1_mask.png", lambda: picture(Path("1_mask.png"), 1)),
    "constant": ("0.png", lambda: Image.new("RGB", (48, 32), (9, 9, 9)).save("0.png")),
    "black": ("0.png", lambda: Image.new("RGB", (48, 32)).save("0.png")),
    "bomb": ("0.png", lambda: Image.new("1", (30_000, 30_000)).save("0.png")),
    "copy": ("same images", lambda: Path("3.png").write_bytes(Path("1.png").read_bytes())),
    "copy named otherwise": ("same images", lambda: Image.open("1.png").save("3.png", optimize=1)),
}

ENTRIES = [
    *of_formats(),
    *(
        Malformed(f"header: {name}", "volumes", DATALIST, "one.nii", partial(header, **fields))
        for name, fields in HEADERS.items()
    ),
    *(
        Malformed(f"voxels: {name}", "volumes", DATALIST, told, damage)
        for name, (told, damage) in CONTENTS.items()
    ),
    *(
        Malformed(f"pixels: {name}", "pictures", TABLE, told, damage)
        for name, (told, damage) in OF_PICTURES.items()
    ),
]
