"""Maps on disk: written by row, read by index, packed without loss."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from wsseg.utils.errors import InputError
from wsseg.utils.map_file import MapFile, decode, encode
from wsseg.utils.targets import IGNORE


@pytest.fixture
def maps(tmp_path: Path) -> MapFile:
    made = MapFile(tmp_path / "maps", (10, 2, 4, 6), version=3)
    made.create()
    return made


def test_rows_come_back_and_others_are_unknown(maps: MapFile) -> None:
    relevance = torch.rand(3, 2, 4, 6)
    maps.write(torch.tensor([7, 0, 9]), relevance)
    found = maps.lookup(torch.tensor([9, 0, 1]))
    assert torch.equal(found[:2], decode(encode(relevance[[2, 1]])))
    assert bool((found[2] == IGNORE).all())


def test_packing_is_lossless(maps: MapFile, tmp_path: Path) -> None:
    maps.write(torch.arange(0, 10, 2), torch.rand(5, 2, 4, 6))
    again = MapFile(tmp_path / "again", maps.shape, maps.version)
    again.unpack(maps.pack())
    assert again.path.read_bytes() == maps.path.read_bytes()


def test_packing_more_than_a_chunk(tmp_path: Path) -> None:
    maps = MapFile(tmp_path / "a", (9, 1, 10, 10), 1)
    maps.create()
    maps.write(torch.tensor([1, 2, 7]), torch.rand(3, 1, 10, 10))
    again = MapFile(tmp_path / "b", maps.shape, 1)
    again.unpack(maps.pack(together=100), together=100)
    assert again.path.read_bytes() == maps.path.read_bytes()


def test_untouched_slices_take_no_room(tmp_path: Path) -> None:
    maps = MapFile(tmp_path, (10_000, 1, 240, 240), 1)
    maps.create()
    maps.write(torch.tensor([5000]), torch.ones(1, 1, 240, 240))
    assert maps.path.stat().st_size == 10_000 * 240 * 240
    assert maps.path.stat().st_blocks * 512 < 2**20


@pytest.mark.parametrize("index", [-1, 10])
def test_index_out_of_range(maps: MapFile, index: int) -> None:
    with pytest.raises(InputError, match=f"slice index {index} is out of range"):
        maps.lookup(torch.tensor([0, index]))


def test_survives_pickling_and_removal(maps: MapFile) -> None:
    maps.write(torch.tensor([1]), torch.ones(1, 2, 4, 6))
    maps.lookup(torch.tensor([1]))
    assert float(pickle.loads(pickle.dumps(maps)).lookup(torch.tensor([1])).min()) == 1
    maps.remove()
    assert not maps.path.exists()
