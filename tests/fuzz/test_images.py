"""Readers of images, given files that were changed by their structure and by their bytes."""

from __future__ import annotations

import gzip
import io
import struct
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.mutations import FRACTIONS, NUMBERS, Draw, changed_bytes
from tests.fuzz.running import fuzz, right_or_refused
from wsseg.data.readers import read_header, read_voxels

SHAPE = (5, 6, 4)
VOLUME = np.random.default_rng(0).integers(1, 90, SHAPE)
PIXELS = VOLUME.reshape(12, 10).astype(np.uint8)
COLOURS = np.stack([PIXELS, PIXELS + 1, PIXELS * 2], axis=2)
KINDS = (np.uint8, np.int16, np.float32)
NIFTIS = [bytes(nib.Nifti1Image(VOLUME.astype(kind), np.eye(4)).to_bytes()) for kind in KINDS]
FIELDS = {name: field for name, (field, *_) in nib.Nifti1Header().template_dtype.fields.items()}


def pictures(kind: str) -> list[bytes]:
    """Return a grey and a coloured picture of a format."""
    files = []
    for pixels in (PIXELS, COLOURS):
        stream = io.BytesIO()
        if kind == "tif":
            tifffile.imwrite(stream, pixels, compression="zlib" if pixels.ndim > 2 else None)
        else:
            Image.fromarray(pixels).save(stream, {"jpg": "jpeg"}.get(kind, kind))
        files.append(stream.getvalue())
    return files


@st.composite
def changed_header(draw: Draw) -> bytes:
    """Change up to three fields of the header of a NIfTI file."""
    raw = bytearray(draw(st.sampled_from(NIFTIS)))
    header = np.frombuffer(raw[:348], nib.Nifti1Header.template_dtype).copy()
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(list(FIELDS)))
        values = header[name].reshape(-1)
        if values.dtype.kind == "S":
            values[...] = draw(st.binary(max_size=values.dtype.itemsize))
        else:
            place = draw(st.integers(0, values.size - 1))
            value = draw(st.sampled_from(FRACTIONS if values.dtype.kind == "f" else NUMBERS))
            if values.dtype.kind != "f":
                value %= 128**values.dtype.itemsize
            with np.errstate(over="ignore"):
                values[place] = -value if draw(st.booleans()) and signed(values) else value
        header[name] = values.reshape(header[name].shape)
    raw[:348] = header.tobytes()
    return bytes(raw)


def signed(values: np.ndarray) -> bool:
    return values.dtype.kind != "u"


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1)


@st.composite
def changed_chunks(draw: Draw) -> bytes:
    """Change the chunks of a PNG, and give each a right checksum."""
    content = draw(st.sampled_from(pictures("png")))
    chunks, place = [], 8
    while place < len(content):
        (size,) = struct.unpack_from(">I", content, place)
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += size + 12
    number = draw(st.integers(0, len(chunks) - 1))
    name, data = chunks[number]
    if name == b"IDAT" and draw(st.booleans()):
        data = zlib.compress(draw(changed_bytes([zlib.decompress(data)])))
    else:
        data = draw(changed_bytes([data or b"\0"]))
    chunks[number] = (draw(st.sampled_from((name, name, b"tRNS", b"PLTE", b"acTL"))), data)
    parts = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return content[:8] + b"".join(parts)


def check(path: Path, content: bytes) -> None:
    """Check that an image is read as its header says, and as another program reads it, if at all.

    Raises:
        AssertionError: It is not, or the refusal is none.
    """
    path.write_bytes(content)
    header = right_or_refused(partial(read_header, path, "ann"), path)
    read = right_or_refused(partial(read_voxels, path, "ann"), path)
    if read is None:
        return
    told, array = read
    assert header is not None
    assert header.shape == told.shape == array.shape[:3]
    assert array.dtype.itemsize <= 4
    if ".nii" in path.name:
        agree(array, path)


def agree(array: np.ndarray, path: Path) -> None:
    """Compare voxels with those that nibabel reads, which does not notice all damages."""
    image: Any = nib.load(path)
    other = np.asanyarray(image.dataobj).reshape(array.shape)
    np.testing.assert_allclose(array, other.astype(np.float32), rtol=1e-5)


NIFTI: dict[str, st.SearchStrategy[bytes]] = {
    "a.nii": st.one_of(changed_header(), changed_bytes(NIFTIS)),
    "a.nii.gz": st.one_of(
        changed_header().map(packed),
        changed_bytes(NIFTIS).map(packed),
        changed_bytes([*map(packed, NIFTIS)]),
    ),
}
OF_PICTURES: dict[str, st.SearchStrategy[bytes]] = {
    **{f"a.{kind}": changed_bytes(pictures(kind)) for kind in ("jpg", "bmp", "gif", "webp", "tif")},
    "a.png": st.one_of(changed_chunks(), changed_bytes(pictures("png"))),
}
KEPT: dict[str, Sequence[bytes]] = {}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*NIFTI, *OF_PICTURES])
def test_an_image(tmp_path: Path, name: str) -> None:
    inputs = (NIFTI | OF_PICTURES)[name]
    fuzz(inputs, partial(check, tmp_path / name), KEPT.get(name, ()))
