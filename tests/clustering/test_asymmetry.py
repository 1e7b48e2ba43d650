"""The other side of symmetric organs."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from wsseg.clustering.asymmetry import asymmetry, mirror, trust_in_side


def brain(shift: int) -> torch.Tensor:
    """Anatomy of 20 columns, off the middle of the slice by ``shift`` columns: [1, 24, 40] bool."""
    valid = torch.zeros(1, 24, 40, dtype=torch.bool)
    valid[:, 2:22, 10 + shift : 30 + shift] = True
    return valid


def symmetric(shift: int) -> torch.Tensor:
    """Tissue that changes from the outside in, the same on both sides: [1, 1, 24, 40]."""
    column = torch.arange(40.0)
    return ((column - 19.5 - shift).abs() * brain(shift))[:, None]


@given(shift=st.integers(-10, 10))
def test_a_symmetric_slice_is_its_mirror_image_wherever_it_lies(shift: int) -> None:
    valid, image = brain(shift), symmetric(shift)
    mirrored, both = mirror(image, valid)
    assert torch.equal(both[:, 0], valid)
    assert torch.equal(mirrored * both, image)
    torch.testing.assert_close(asymmetry(image, valid), torch.zeros(1, 2, 24, 40))


def test_mirroring_twice_gives_the_image_back() -> None:
    valid = brain(4)
    image = torch.rand(1, 3, 24, 40) * valid[:, None]
    once, both = mirror(image, valid)
    twice, _ = mirror(once, valid)
    assert torch.equal(twice * both, image * both)


def test_a_lesion_and_the_tissue_opposite_it_differ_from_each_other() -> None:
    valid, image = brain(0), symmetric(0)
    image[:, :, 8:14, 22:28] += 5
    brightness = asymmetry(image, valid)[0, 0]
    assert brightness[11, 25] > 2
    torch.testing.assert_close(brightness[11, 25], -brightness[11, 14])
    assert brightness[20, 12].abs() < 0.1


def test_texture_differs_where_brightness_does_not() -> None:
    row, column = torch.meshgrid(torch.arange(24), torch.arange(40), indexing="ij")
    chequered = (row + column) % 2 * 2.0 - 1
    image = torch.where(column < 20, chequered, 0.0)[None, None]
    texture = asymmetry(image, torch.ones(1, 24, 40, dtype=torch.bool))[0, 1]
    assert texture[12, 8] > 0.5
    assert texture[12, 31] < -0.5


def test_of_two_sides_the_one_that_looks_like_the_class_is_it() -> None:
    valid = brain(0)
    leaning = torch.full((1, 1, 24, 40), 0.2)
    leaning[:, :, 8:14, 22:28] = 0.8
    leaning[:, :, 11, 25] = 0.1  # single pixels are noise
    weight = trust_in_side(leaning, valid)
    assert weight[0, 0, 11, 25] == 1
    assert weight[0, 0, 11, 14] < 0.4
    assert torch.allclose(weight[0, 0, 20, 12:28], torch.ones(16), atol=0.05)


def test_what_lies_opposite_the_outside_of_a_slice_has_no_counterpart() -> None:
    valid = torch.ones(1, 2, 10, dtype=torch.bool)
    valid[:, 1, :8] = False  # the middle of the anatomy is at column 5
    _, both = mirror(valid[:, None].float(), valid)
    assert both[0, 0, 0].tolist() == [False] + [True] * 9


def test_pixels_without_a_counterpart_speak_for_themselves() -> None:
    valid = brain(0)
    valid[:, 10, 28] = False  # opposite column 11
    assert trust_in_side(torch.rand(1, 1, 24, 40), valid)[0, 0, 10, 11] == 1
    assert asymmetry(torch.rand(1, 1, 24, 40), valid)[0, :, 10, 11].eq(0).all()
