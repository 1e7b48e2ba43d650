"""Writes tiny slice stores by hand, without the code that writes real ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from wsseg.data.spec import FORMAT, DataSpec

SPLIT = {"train": ["a", "b", "c", "d"], "val": ["e"], "test": ["f", "g"]}


def write_store(
    root: Path,
    *,
    slices: int = 6,
    size: int = 32,
    modalities: tuple[str, ...] = ("FLAIR", "T1"),
    masks: bool = True,
    split: dict[str, list[str]] | None = None,
    tagged: bool | None = None,
    seed: int = 0,
) -> Path:
    """Write a store of seven small cases ("a" to "g"), every second slice with a bright square.

    Args:
        root: Folder to write to.
        slices: Slices of case "a"; each further case has one more.
        size: Height and width in pixels.
        modalities: Names of the channels.
        masks: Whether to write the mask tree.
        split: Case names by split; by default four to train, one to validate, two to test.
        tagged: Force every slice to be tagged (True) or not (False).
        seed: Seed of the noise.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(seed)
    spec = DataSpec(modalities, {"tumour": (1,)}, "axial", None, (size, size))
    cases = []
    for number, name in enumerate("abcdefg"):
        count = slices + number
        tags = np.arange(count) % 2 == 1 if tagged is None else np.full(count, tagged)
        _write_case(root, name, tags, len(modalities), size, masks, rng)
        cases.append(
            {
                "id": name,
                "slices": count,
                "tags": tags[:, None].astype(int).tolist(),
                "positions": list(range(10, 10 + count)),
                "spacing": [1.0, 1.0, 1.0],
                "sha256": {"FLAIR": f"{name}-{seed}"},
                "content": {"FLAIR": f"{name}-{seed}"},
                "geometry": {
                    "orientation": [[0, 1], [1, 1], [2, 1]],
                    "shape": [size, size, 10 + count],
                    "axis": 2,
                    "pixel": [1.0, 1.0],
                    "spacing": [1.0, 1.0],
                    "thickness": 1.0,
                    "start": [0, 0],
                    "size": [size, size],
                },
                "source": {"affine": np.eye(4).tolist(), "unit": "mm"},
            }
        )
    manifest = {
        "format": FORMAT,
        "spec": spec.to_dict(),
        "layout": "datalist",
        "has_masks": masks,
        "cases": cases,
    }
    (root / "manifest.json").write_text(json.dumps(manifest))
    (root / "splits.json").write_text(json.dumps({"seed": 0, "folds": [split or SPLIT]}))
    return root


def _write_case(
    root: Path,
    name: str,
    tags: np.ndarray,
    channels: int,
    size: int,
    masks: bool,
    rng: np.random.Generator,
) -> None:
    quarter = size // 4
    valid = np.zeros((len(tags), size, size), bool)
    valid[:, 2:-2, 3:-3] = True
    mask = np.zeros((len(tags), 1, size, size), bool)
    mask[tags, 0, quarter : 2 * quarter, quarter : 2 * quarter] = True
    image = rng.normal(size=(len(tags), channels, size, size)) + 2.0 * mask
    arrays = {"images": (image * valid[:, None]).astype(np.float16), "valid": valid}
    if masks:
        arrays["masks"] = mask
    for folder, array in arrays.items():
        (root / folder).mkdir(parents=True, exist_ok=True)
        np.save(root / folder / f"{name}.npy", array)


@pytest.fixture(scope="session")
def make_store() -> Callable[..., Path]:
    """The function that writes a tiny slice store."""
    return write_store


def write_brats_case(
    folder: Path, name: str, *, seed: int = 0, shape: tuple[int, int, int] = (40, 44, 24)
) -> Path:
    """Write a BraTS case: a bright-centred ellipsoid with a cubic tumour in its upper half.

    Args:
        folder: Where the folder of the case goes.
        name: Name of the case.
        seed: Seed of the noise.
        shape: Voxels.

    Returns:
        The folder of the case.
    """
    import nibabel as nib

    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*[np.linspace(-1, 1, n) for n in shape], indexing="ij")
    brain = grid[0] ** 2 + grid[1] ** 2 + grid[2] ** 2 < 0.8
    labels = np.zeros(shape, np.uint8)
    labels[16:24, 16:24, 12:18] = 2
    labels[18:22, 18:22, 14:16] = 4
    affine = np.diag([-1.0, -1.0, 2.0, 1.0])
    affine[:3, 3] = 20.0, 30.0, -10.0
    (folder / name).mkdir(parents=True)
    for contrast, modality in enumerate(("t1", "t1ce", "t2", "flair")):
        image = brain * (100 + 10 * rng.normal(size=shape) + 20 * contrast * (labels > 0))
        path = folder / name / f"{name}_{modality}.nii.gz"
        nib.save(nib.Nifti1Image(image.astype(np.int16), affine), path)
    nib.save(nib.Nifti1Image(labels, affine), folder / name / f"{name}_seg.nii.gz")
    return folder / name


@pytest.fixture(scope="session")
def make_case() -> Callable[..., Path]:
    """The function that writes a small BraTS case."""
    return write_brats_case
