"""Pictures are read upright and in their own depth, and what is none is named in one line."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)
import tifffile
from PIL import Image, ImageOps

from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.layouts import CaseFiles, ImageFile
from wsseg.data.planes import to_planes
from wsseg.data.readers import read_header, read_voxels
from wsseg.data.volumes import read_case_images, read_case_mask
from wsseg.utils.errors import InputError

ROWS, COLUMNS = 7, 9
GREY = np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS)
COLOUR = np.stack([GREY, 255 - GREY, GREY // 2], axis=2)


def shown(path: Path, *, mask: bool = False) -> np.ndarray:
    """Return the pixels [rows, columns(, channels)] of a picture, after checking its header."""
    header, array = read_voxels(path, "ann", mask=mask)
    told = read_header(path, "ann", mask=mask)
    assert (told.shape, told.channels, told.names) == (header.shape, header.channels, header.names)
    assert array.shape == header.shape + (header.channels,) * (header.channels > 1)
    assert header.is_picture
    assert header.names == (("red", "green", "blue") if header.channels == 3 else ())
    return np.asarray(array[:, :, 0].swapaxes(0, 1))


def refused(path: Path) -> str:
    messages = []
    for read in (read_header, read_voxels):
        try:
            read(path, "ann")
        except InputError as error:
            messages.append(str(error))
    assert messages
    assert all(m.startswith(f"{path} (case ann): ") and "; " in m for m in messages)
    assert "\n" not in messages[-1]
    return messages[-1]


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.TIFF", "a.gif", "a.webp", "a.jpg"])
def test_grey_and_colour(tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 100}}
    for pixels in (GREY, COLOUR):
        Image.fromarray(pixels).save(tmp_path / name, **options.get(name, {}))
        read = shown(tmp_path / name)
        if read.ndim > pixels.ndim:  # these formats know no grey
            assert name in ("a.gif", "a.webp")
            pixels = np.stack([pixels] * 3, axis=2)
        np.testing.assert_allclose(read, pixels, atol=40 if name == "a.jpg" else 0)


def test_a_slice_shows_a_picture_upright(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "a.png")
    header, array = read_voxels(tmp_path / "a.png", "ann")
    geometry = whole_plane_geometry(header.shape, header.affine, "axial", None)
    planes = to_planes(array[None], geometry.orientation, geometry.axis)
    np.testing.assert_array_equal(planes, GREY[None, None])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif"])
def test_orientation(tmp_path: Path, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.kron(GREY, np.ones((16, 16), np.uint8))  # which JPEG keeps
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, quality=100)
    Image.fromarray(pixels).save(tmp_path / "plain.png", exif=exif)
    with Image.open(tmp_path / "plain.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_allclose(shown(tmp_path / name), expected, atol=2)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_opacity_is_dropped_and_palettes_become_colours(
    tmp_path: Path, name: str, mode: str
) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    if (mode, name) == ("CMYK", "a.png"):
        return
    image.save(tmp_path / name)
    grey = mode in ("1", "L", "LA")
    expected = np.asarray(image.convert("L" if grey else "RGB"))
    read = shown(tmp_path / name)
    np.testing.assert_array_equal(read * (255 if mode == "1" and name == "a.tif" else 1), expected)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_depths_of_png(tmp_path: Path, kind: type, channels: int) -> None:
    top = np.iinfo(kind).max
    pixels = np.random.default_rng(0).integers(0, top, (ROWS, COLUMNS, channels)).astype(kind)
    image = sitk.GetImageFromArray(pixels, isVector=True)
    sitk.WriteImage(
        image if channels > 1 else sitk.VectorIndexSelectionCast(image, 0), str(tmp_path / "a.png")
    )
    read = shown(tmp_path / "a.png")
    assert read.dtype == kind
    np.testing.assert_array_equal(read, pixels[..., 0] if channels == 1 else pixels[..., :3])


@pytest.mark.parametrize(
    "kind",
    [np.uint8, np.int8, np.uint16, ">u2", np.int16, np.uint32, np.float16, np.float32, np.float64],
)
@pytest.mark.parametrize("shape", [(ROWS, COLUMNS), (ROWS, COLUMNS, 3), (ROWS, COLUMNS, 5)])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_depths_of_tiff(
    tmp_path: Path, kind: Any, shape: tuple[int, ...], compression: str | None
) -> None:
    pixels = np.random.default_rng(0).integers(0, 100, shape).astype(kind)
    photometric = "rgb" if shape[2:] == (3,) else "minisblack"
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        photometric=photometric,
        planarconfig="contig" if len(shape) > 2 else None,
        compression=compression,
        byteorder=">" if kind == ">u2" else "<",
    )
    read = shown(tmp_path / "a.tif")
    assert read.dtype in (np.uint8, np.int8, np.uint16, np.int16, np.float32)
    np.testing.assert_array_equal(read, pixels)


def test_compressed_tiff_of_deep_colours(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65535, (ROWS, COLUMNS, 3)).astype(np.uint16)
    image = sitk.GetImageFromArray(pixels, isVector=True)
    sitk.WriteImage(image, str(tmp_path / "a.tif"), useCompression=True, compressor="LZW")
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), pixels)


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "packbits", "tiff_adobe_deflate"])
def test_compressed_tiff(tmp_path: Path, compression: str) -> None:
    pixels = np.kron(GREY, np.ones((16, 16), np.uint8))
    for image in (Image.fromarray(pixels), Image.fromarray(np.stack([pixels] * 3, axis=2))):
        image.save(tmp_path / "a.tif", compression=compression)
        np.testing.assert_allclose(shown(tmp_path / "a.tif"), np.asarray(image), atol=3)


def test_white_is_zero(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", GREY, photometric="miniswhite")
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), 255 - GREY)


def test_pages_are_planes_unless_they_are_channels(tmp_path: Path) -> None:
    stack = np.random.default_rng(0).integers(0, 99, (4, ROWS, COLUMNS)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    header, array = read_voxels(tmp_path / "a.tif", "ann")
    assert (header.shape, header.unit) == ((COLUMNS, ROWS, 4), "px")
    np.testing.assert_array_equal(array, stack.transpose(2, 1, 0))
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "CYX"})
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), stack.transpose(1, 2, 0))
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": "TYX"})
    assert "has axes TYX" in refused(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "a.tif", stack[0, :4], append=True)
    assert "holds 2 pictures of different sizes" in refused(tmp_path / "a.tif")


def test_animations(tmp_path: Path) -> None:
    frames = [Image.fromarray(GREY), Image.fromarray(GREY.T.reshape(ROWS, COLUMNS))]
    for name in ("a.gif", "a.png", "a.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        assert "is an animation" in refused(tmp_path / name)
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    assert shown(tmp_path / "a.jpg").shape == (ROWS, COLUMNS)  # a photograph with its preview


def test_a_picture_that_would_fill_the_memory(tmp_path: Path) -> None:
    Image.new("1", (30_000, 30_000)).save(tmp_path / "a.png")
    assert "is too large" in refused(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    content = (tmp_path / "a.tif").read_bytes()
    for before, after in ((COLUMNS, 60_000), (ROWS, 60_000)):
        content = content.replace(bytes([before, 0, 0, 0]), after.to_bytes(4, "little"), 1)
    (tmp_path / "a.tif").write_bytes(content)
    refused(tmp_path / "a.tif")


def case(tmp_path: Path, image: str, mask: str) -> CaseFiles:
    return CaseFiles("ann", {"grey": ImageFile(tmp_path / image)}, tmp_path / mask)


def labels(tmp_path: Path, mask: str, known: tuple[int, ...] = (0, 1)) -> np.ndarray:
    """Return the labels [rows, columns] that a mask gives a picture."""
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    files = case(tmp_path, "grey.png", mask)
    found = read_case_mask(files, known, read_case_images(files, ["grey"]))
    return np.asarray(found.volume[..., 0].T)


INSIDE = np.zeros((ROWS, COLUMNS), bool)
INSIDE[2:5, 3:7] = True


@pytest.mark.parametrize(
    ("mode", "white"),
    [("1", 255), ("L", 255), ("L", 128), ("L", 1), ("LA", 255), ("I;16", 65535), ("P", 255)],
)
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_a_mask_in_black_and_white(tmp_path: Path, mode: str, white: int, ending: str) -> None:
    pixels = INSIDE * np.uint16(white)
    image = Image.fromarray(pixels if mode == "I;16" else pixels.astype(np.uint8))
    (image if mode == "I;16" else image.convert(mode)).save(tmp_path / f"mask.{ending}")
    np.testing.assert_array_equal(labels(tmp_path, f"mask.{ending}"), INSIDE)


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 0, 0)])
@pytest.mark.parametrize("name", ["mask.png", "mask.tif", "mask.bmp"])
def test_a_mask_in_one_colour(tmp_path: Path, colour: tuple[int, ...], name: str) -> None:
    Image.fromarray((INSIDE[..., None] * np.array(colour)).astype(np.uint8)).save(tmp_path / name)
    np.testing.assert_array_equal(labels(tmp_path, name), INSIDE)


def test_a_mask_saved_as_jpeg(tmp_path: Path) -> None:
    white = np.stack([INSIDE * np.uint8(255)] * 3, axis=2)
    Image.fromarray(white).save(tmp_path / "mask.jpg", quality=75)
    np.testing.assert_array_equal(labels(tmp_path, "mask.jpg"), INSIDE)
    Image.fromarray(INSIDE * np.uint8(0)).save(tmp_path / "mask.jpg")
    assert not labels(tmp_path, "mask.jpg").any()
    Image.fromarray(INSIDE * np.uint8(2)).save(tmp_path / "mask.jpg", quality=100)
    with pytest.raises(InputError, match=r"mask\.jpg \(case ann\): is a mask without white"):
        labels(tmp_path, "mask.jpg")


@pytest.mark.parametrize("mode", ["L", "P"])
def test_values_or_numbers_of_colours_are_labels(tmp_path: Path, mode: str) -> None:
    values = INSIDE.astype(np.uint8) * 2
    values[0, 0] = 1
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(labels(tmp_path, "mask.png", (0, 1, 2)), values)


def write_png(path: Path, bits: int, colour_type: int, row: bytes, width: int) -> None:
    """Write a PNG of one row, in depths that Pillow does not write."""
    head = struct.pack(">IIBBBBB", width, 1, bits, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b""))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
            for name, data in chunks
        )
    )


@pytest.mark.parametrize(("bits", "row"), [(2, b"\x1b"), (4, b"\x01\x23")])
def test_labels_of_few_bits(tmp_path: Path, bits: int, row: bytes) -> None:
    write_png(tmp_path / "mask.png", bits, 0, row, 4)
    assert shown(tmp_path / "mask.png", mask=True).tolist() == [[0, 1, 2, 3]]
    assert shown(tmp_path / "mask.png")[0, 3] == 3 * 255 // (2**bits - 1), "images stay bright"


def test_grey_of_16_bits_with_opacity(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", 16, 4, struct.pack(">4H", 1, 65535, 300, 65535), 2)
    assert "is grey of 16 bits with opacity" in refused(tmp_path / "a.png")


def test_a_label_stays_what_it_is(tmp_path: Path) -> None:
    Image.fromarray(INSIDE * np.uint8(2)).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(labels(tmp_path, "mask.png", (0, 1, 2)), INSIDE * 2)
    np.testing.assert_array_equal(labels(tmp_path, "mask.png", (0, 2)), INSIDE * 2)
    Image.fromarray(INSIDE * np.uint8(255)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="unknown label 255"):
        labels(tmp_path, "mask.png", (0, 1, 2))
    np.testing.assert_array_equal(labels(tmp_path, "mask.png", (0, 255)), INSIDE * 255)


def test_an_empty_mask(tmp_path: Path) -> None:
    Image.fromarray(INSIDE * np.uint8(0)).save(tmp_path / "mask.png")
    assert not labels(tmp_path, "mask.png").any()


def test_masks_that_name_no_label(tmp_path: Path) -> None:
    Image.fromarray(COLOUR).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png \(case ann\): is a mask in several colours"):
        labels(tmp_path, "mask.png")
    Image.fromarray(INSIDE[:-1] * np.uint8(255)).save(tmp_path / "mask.png")
    with pytest.raises(InputError, match=r"mask\.png \(case ann\): shape \(9, 6, 1\) differs"):
        labels(tmp_path, "mask.png")


def test_grey_serves_as_colour_and_grey_colours_as_grey(tmp_path: Path) -> None:
    Image.fromarray(GREY).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([GREY] * 3, axis=2)).save(tmp_path / "rgb.png")
    Image.fromarray(COLOUR).save(tmp_path / "colour.png")

    def read(name: str, *channels: int | None) -> np.ndarray:
        images = {str(c): ImageFile(tmp_path / name, c) for c in channels}
        volumes = read_case_images(CaseFiles("ann", images), list(images)).volumes
        return np.stack([volume[..., 0].T for volume in volumes], axis=2)

    np.testing.assert_array_equal(read("colour.png", 0, 1, 2), COLOUR)
    np.testing.assert_array_equal(read("grey.png", 0, 1, 2), np.stack([GREY] * 3, axis=2))
    np.testing.assert_array_equal(read("rgb.png", None)[..., 0], GREY)
    with pytest.raises(InputError, match=r"colour\.png \(case ann\): is in colour, where a grey"):
        read("colour.png", None)
