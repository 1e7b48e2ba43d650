"""Nothing that data can bring makes a number infinite; gradients are those of the formulas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from tests.models.test_cam_module import SMALL, batch
from wsseg.models import CamModule
from wsseg.models.cam_network import top_mean
from wsseg.models.losses import (
    classification_loss,
    cluster_loss,
    reconstruction_loss,
    suppression_loss,
)
from wsseg.models.network_input import slice_input
from wsseg.segmentation.losses import generalised_cross_entropy, noisy_mask_loss, soft_dice_loss

pytestmark = pytest.mark.usefixtures("one_thread")
SHAPE = (3, 2, 4, 4)
DRAW = torch.Generator().manual_seed(0)
VALID = torch.rand(3, 4, 4, generator=DRAW) < 0.7
TARGET = torch.rand(SHAPE, generator=DRAW, dtype=torch.float64)
MAPS = torch.where(torch.rand(SHAPE, generator=DRAW) < 0.3, -1.0, TARGET.round())
TAGS = torch.tensor([[1.0, 0.0], [0.0, torch.nan], [1.0, 1.0]], dtype=torch.float64)
DRAWN = torch.tensor([True, False, False])
LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "classification": lambda maps: classification_loss(maps.mean((2, 3))[None], TAGS),
    "suppression": lambda maps: suppression_loss(maps, VALID, TAGS),
    "cluster": lambda maps: cluster_loss(maps, VALID, MAPS),
    "reconstruction": lambda maps: reconstruction_loss(maps, TARGET, VALID),
    "noisy masks": lambda maps: noisy_mask_loss(maps, TARGET, MAPS >= 0, 0.7, DRAWN),
    "generalised": lambda maps: generalised_cross_entropy(maps, TARGET, torch.tensor(0.7)),
    "dice": lambda maps: soft_dice_loss(maps.sigmoid(), TARGET),
    "pooling": lambda maps: top_mean(maps, VALID, 0.2),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_are_those_of_the_formula(name: str) -> None:
    maps = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    assert gradcheck(LOSSES[name], maps.requires_grad_())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_extreme_values_are_finite(name: str, kind: torch.dtype) -> None:
    """Also in half precision, whose largest number is 65,504."""
    for value in (-3e4, -30.0, 0.0, 30.0, 3e4):
        maps = torch.full(SHAPE, value, dtype=kind, requires_grad=True)
        loss = LOSSES[name](maps)
        (gradient,) = torch.autograd.grad(loss.sum(), maps)
        assert loss.isfinite().all(), value
        assert gradient.isfinite().all(), value


IMAGES = {"noise": 1.0, "constant": 0.0, "large": 1e3}
VALIDS = ("all", "none", "one pixel", "one slice")
TAGGED = (0.0, 1.0, torch.nan)
CLUSTER_MAPS = (None, -1.0, 0.0, 1.0)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    st.sampled_from(list(IMAGES)),
    st.sampled_from(VALIDS),
    st.sampled_from(TAGGED),
    st.sampled_from(CLUSTER_MAPS),
    st.sampled_from((1, 4)),
    st.sampled_from((torch.float32, torch.bfloat16)),
)
def test_a_step_of_any_batch_is_finite(
    image: str,
    valid: str,
    tags: float,
    cluster_map: float | None,
    slices: int,
    precision: torch.dtype,
) -> None:
    views: dict[str, Any] = batch(4)
    views = {name: value[:slices] for name, value in views.items()}
    views["image"] = views["image"] * IMAGES[image]
    views["valid"] = torch.full_like(views["valid"], valid == "all")
    if valid.startswith("one"):
        views["valid"][0, : 1 if valid == "one pixel" else None, :1] = True
    views["tags"] = torch.full_like(views["tags"], tags)
    if cluster_map is not None:
        views["cluster_map"] = torch.full((slices, 2, 16, 16), cluster_map)
    torch.manual_seed(0)
    module = CamModule(**SMALL).train()
    with torch.autocast("cpu", precision, enabled=precision != torch.float32):
        seen = slice_input(views["image"], views["valid"], module.symmetric)
        losses = module.losses(views, seen)
    torch.stack(list(losses.values())).sum().backward()
    assert all(loss.isfinite() for loss in losses.values()), losses
    gradients = [each.grad for each in module.parameters() if each.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert module.eval()(views["image"], views["valid"]).isfinite().all()


def test_threads_change_nothing_but_the_order_of_sums() -> None:
    """In float64: in float32 the optimiser takes full steps along gradients that are rounding."""
    torch.testing.assert_close(trained(1), trained(2), rtol=0, atol=1e-9)


def trained(threads: int, kind: torch.dtype = torch.float64) -> Tensor:
    """The weights after three steps on maps that are large enough to be divided among threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = CamModule(**SMALL).to(kind)
    optimiser = torch.optim.AdamW(module.network.parameters(), 2e-3)
    views: dict[str, Any] = batch(4)
    for name in ("image", "valid"):
        views[name] = views[name].repeat_interleave(4, -1).repeat_interleave(4, -2)
    views |= {"image": views["image"].to(kind), "tags": views["tags"].to(kind)}
    for _ in range(3):
        optimiser.zero_grad()
        losses = module.losses(views, slice_input(views["image"], views["valid"], module.symmetric))
        torch.stack(list(losses.values())).sum().backward()
        optimiser.step()
    return torch.cat([each.detach().flatten() for each in module.network.parameters()])
