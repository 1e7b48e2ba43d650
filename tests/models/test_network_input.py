"""What networks see of the asymmetry, in training and afterwards."""

from __future__ import annotations

from dataclasses import replace

import torch

from wsseg.clustering import Asymmetry
from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch, DataSpec
from wsseg.models import CamModule
from wsseg.models.network_input import (
    batch_input,
    sees_asymmetry,
    slice_input,
    with_asymmetry,
)

SPEC = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", 2.0, (16, 16))
STILL = SliceAugmentation(flip=0, rotation=0, scaling=0, gain=0, shift=0, gamma=0, noise=0)


def batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    valid = torch.zeros(2, 16, 16, dtype=torch.bool)
    valid[:, 2:14, 2:14] = True
    zeros = torch.zeros(2, dtype=torch.int64)
    return Batch(
        image=torch.randn(2, 2, 16, 16, generator=generator) * valid[:, None],
        tags=torch.tensor([[1.0], [0.0]]),
        valid=valid,
        index=torch.arange(2),
        case=zeros,
        level=zeros,
    )


def test_training_and_prediction_see_the_same_in_half_of_the_slices() -> None:
    views = batch()
    expected = slice_input(views["image"], views["valid"], symmetric=True)
    assert expected.shape == (2, 6, 16, 16)
    torch.manual_seed(0)
    seen = [batch_input(STILL(with_asymmetry(views)))[0] for _ in range(40)]
    shown = [each for each in seen if each[2:].any()]
    assert 10 <= len(shown) <= 30
    assert all(torch.equal(each, expected[0]) for each in shown)
    assert all(torch.equal(each[:2], views["image"][0]) for each in seen)
    assert torch.equal(
        batch_input(STILL(views)), slice_input(views["image"], views["valid"], False)
    )


def test_the_asymmetry_moves_with_the_image() -> None:
    torch.manual_seed(1)
    views = with_asymmetry(batch())
    assert views["asymmetry"].any()
    moved = SliceAugmentation(flip=1, rotation=0, scaling=0, gain=0, shift=0, gamma=0, noise=0)(
        views
    )
    torch.testing.assert_close(moved["image"], views["image"].flip(-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(moved["asymmetry"], views["asymmetry"].flip(-1), atol=1e-5, rtol=0)


def test_sagittal_slices_show_one_side_only() -> None:
    sagittal = replace(SPEC, axis="sagittal")
    assert sees_asymmetry(SPEC, symmetry=True)
    assert not sees_asymmetry(SPEC, symmetry=False)
    assert not sees_asymmetry(sagittal, symmetry=True)
    small = {"widths": (4, 8), "embedding_widths": (4, 8)}
    module = CamModule(sagittal.to_dict(), **small).eval()
    views = batch()
    assert not any(isinstance(view, Asymmetry) for view in module.cluster_views)
    assert module(views["image"], views["valid"]).shape == (2, 1, 16, 16)
    both_sides = CamModule(SPEC.to_dict(), **small)
    assert any(isinstance(view, Asymmetry) for view in both_sides.cluster_views)


def test_a_batch_may_show_no_asymmetry_at_all() -> None:
    views = {name: each[:1] for name, each in batch().items()}
    torch.manual_seed(0)
    shown = [bool(with_asymmetry(views)["asymmetry"].any()) for _ in range(20)]  # type: ignore[arg-type]
    assert any(shown)
    assert not all(shown)
