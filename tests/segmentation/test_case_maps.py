"""Pseudo-masks of a case: tags on top, smoothing that knows where it ends."""

from __future__ import annotations

import torch

from wsseg.segmentation.case_maps import case_maps

PLAIN = {"pixels": 0.0, "slices": 0.0, "high": 0.5}


def everywhere(slices: int) -> torch.Tensor:
    return torch.ones(slices, 6, 6, dtype=torch.bool)


def test_tags_have_the_last_word() -> None:
    probability = torch.full((2, 2, 6, 6), 0.9)
    tags = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    maps = case_maps(probability, everywhere(2), tags, pixels=2.0, slices=2.0, high=0.5)
    for slice_, class_ in ((0, 1), (1, 0)):
        assert (maps[slice_, class_] == 0).all()
        torch.testing.assert_close(maps[slice_, 1 - class_], torch.full((6, 6), 0.9))


def test_an_unknown_tag_leaves_the_word_to_the_first_stage() -> None:
    probability = torch.full((2, 1, 6, 6), 0.9)
    probability[1] = 0.1
    maps = case_maps(probability, everywhere(2), torch.full((2, 1), torch.nan), **PLAIN)
    torch.testing.assert_close(maps[0, 0], torch.full((6, 6), 0.9))
    assert (maps[1] == -1).all()


def test_a_tagged_slice_in_which_nothing_is_found_is_unknown() -> None:
    probability = torch.zeros(2, 1, 6, 6)
    probability[0, 0, 2, 2] = 0.8
    probability[1] = 0.5
    maps = case_maps(probability, everywhere(2), torch.ones(2, 1), **PLAIN)
    assert maps[0, 0, 2, 2] == 0.8
    assert maps[0, 0, 0, 0] == 0
    assert (maps[1] == -1).all()


def test_outside_anatomy_is_unknown_and_not_averaged_in() -> None:
    probability = torch.full((3, 1, 6, 6), 0.9)
    valid = everywhere(3)
    valid[:, :, 3:] = False
    probability[:, :, :, 3:] = 0
    maps = case_maps(probability, valid, torch.ones(3, 1), pixels=1.0, slices=1.0, high=0.5)
    assert (maps[..., 3:] == -1).all()
    torch.testing.assert_close(maps[..., :3], torch.full((3, 1, 6, 3), 0.9))


def test_an_untagged_neighbour_wears_nothing_away() -> None:
    probability = torch.full((2, 1, 6, 6), 0.9)
    probability[1] = 0
    maps = case_maps(
        probability, everywhere(2), torch.tensor([[1.0], [0.0]]), pixels=0.0, slices=3.0, high=0.5
    )
    torch.testing.assert_close(maps[0], torch.full((1, 6, 6), 0.9))
