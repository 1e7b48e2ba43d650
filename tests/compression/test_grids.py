"""Windows of pictures, the grids made of them, and the way back to pixels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F

from wsseg.compression import enlarging, grids
from wsseg.compression.windows import opened
from wsseg.data.readers import read_header
from wsseg.data.readers.header import Grid

LAYOUTS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (64, 128), "compression": "zlib"},
    "strips": {"rowsperstrip": 37, "compression": "zlib"},
    "plain": {},
    "big_endian": {"byteorder": ">"},
}


def pixels(height: int = 300, width: int = 420, kind: Any = np.uint8) -> NDArray[Any]:
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 9 + columns / k) + np.cos(columns / 31) for k in (5.0, 13.0, 29.0)]
    return np.asarray((np.stack(waves, axis=-1) + 2) / 4 * np.iinfo(kind).max, kind)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_windows_of_a_tiff_are_its_pixels(layout: str, kind: Any, tmp_path: Path) -> None:
    path, image = tmp_path / "ann.tif", pixels(kind=kind)
    tifffile.imwrite(path, image, photometric="rgb", **LAYOUTS[layout])
    with opened(path, "ann") as picture:
        assert picture.size == (300, 420)
        for window in (np.s_[0:300, 0:420], np.s_[63:66, 127:129], np.s_[299:300, 0:420]):
            assert (picture.read(window) == image[window]).all()


def test_windows_of_other_pictures_are_their_pixels(tmp_path: Path) -> None:
    image = pixels()
    Image.fromarray(image).save(tmp_path / "ann.png")
    Image.fromarray(image[..., 0]).save(tmp_path / "grey.png")
    tifffile.imwrite(tmp_path / "white.tif", image[..., 0], photometric="miniswhite")
    window = np.s_[10:90, 200:230]
    for name, expected in (("ann.png", image), ("grey.png", image[..., :1])):
        with opened(tmp_path / name, "ann") as picture:
            assert (picture.read(window) == expected[window]).all()
    with opened(tmp_path / "white.tif", "ann") as picture:
        assert (picture.read(window) == 255 - image[window][..., :1]).all()


def test_only_what_a_window_touches_is_decoded(tmp_path: Path) -> None:
    path, image = tmp_path / "ann.tif", pixels()
    tifffile.imwrite(path, image, tile=(64, 128), compression="zlib", photometric="rgb")
    with tifffile.TiffFile(path) as file:
        last = file.pages.first.dataoffsets[-1]
    content = bytearray(path.read_bytes())
    content[last : last + 20] = b"x" * 20
    path.write_bytes(content)
    with opened(path, "ann") as picture:
        assert (picture.read(np.s_[0:250, 0:256]) == image[0:250, 0:256]).all()
        with pytest.raises(ValueError, match=r"ann\.tif \(case ann\): is not a readable TIFF"):
            picture.read(np.s_[280:300, 400:420])


@pytest.mark.parametrize("cell", [16, 64])
def test_a_grid_does_not_depend_on_the_windows(
    cell: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, encoder = tmp_path / "ann.tif", grids.build_encoder()
    tifffile.imwrite(path, pixels(300, 500), photometric="rgb")
    with opened(path, "ann") as picture:
        whole = grids.encode(picture, cell, encoder)
        monkeypatch.setattr(grids, "WINDOW", 64)
        parts = grids.encode(picture, cell, encoder)
    assert whole.shape == (115, -(-300 // cell), -(-500 // cell))
    np.testing.assert_allclose(parts.astype(float), whole.astype(float), atol=0.02)
    first = pixels(300, 500)[:cell, :cell].mean(axis=(0, 1))
    np.testing.assert_allclose(whole[:3, 0, 0], first, rtol=2e-3)


def test_the_file_of_a_grid_says_where_it_lies(tmp_path: Path) -> None:
    path, encoder = tmp_path / "ann.png", grids.build_encoder()
    Image.fromarray(pixels(50, 90)).save(path)
    target = grids.write_grid(path, "ann", tmp_path / "grid.tif", 16, encoder)
    header = read_header(target, "ann")
    assert header.grid is not None
    assert header.grid[:3] == (16, 50, 90)
    assert header.shape == (6, 4, 1)
    assert (header.names[2:4], header.names[-1]) == (("blue", "cell16_0"), "cell16_111")
    written = target.stat().st_mtime_ns
    grids.write_grid(path, "ann", target, 16, encoder)
    assert target.stat().st_mtime_ns == written  # it was there
    grids.write_grid(path, "ann", target, 32, encoder)
    assert read_header(target, "ann").shape == (3, 2, 1)


def test_a_cell_of_a_mask_takes_the_label_of_half_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grids, "WINDOW", 64)
    generator = np.random.default_rng(0)
    blocks = generator.choice([0, 1, 7], (19, 26), p=[0.4, 0.3, 0.3])
    labels = np.kron(blocks, np.ones((8, 8), int)).astype(np.uint8)[:150, :200]
    tifffile.imwrite(tmp_path / "mask.tif", labels, tile=(32, 32), compression="zlib")
    found = grids.write_cell_mask(tmp_path / "mask.tif", "ann", tmp_path / "mask.png", 16)
    got, padded = np.asarray(Image.open(found)), np.pad(labels, ((0, 10), (0, 8)), "edge")
    for row in range(10):
        for column in range(13):
            part = padded[16 * row : 16 * row + 16, 16 * column : 16 * column + 16]
            half = [label for label in (1, 7) if (part == label).sum() >= 128]
            assert got[row, column] == (half[-1] if half else 0)
    assert got.shape == (10, 13)


def test_enlarged_masks_are_those_of_the_whole_interpolated_map(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(enlarging, "TILE", 64)
    probability = torch.rand(2, 9, 7, generator=torch.Generator().manual_seed(0))
    grid, classes = Grid(16, 140, 105, ""), {"whole": (1, 2), "core": (2,)}
    path = enlarging.save_enlarged(probability, 0.5, classes, grid, tmp_path / "ann.tif")
    fine = F.interpolate(probability[None], scale_factor=16, mode="bilinear")[0, :, :140, :105]
    whole, core = (fine > 0.5).numpy()
    assert (tifffile.imread(path) == np.where(core, 2, whole)).all()
