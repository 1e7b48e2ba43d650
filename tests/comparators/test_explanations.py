"""Grad-CAM and LayerCAM against their definitions and against MONAI's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.comparators.conftest import SPEC, batch, small
from wsseg.comparators import GradCam, LayerCam
from wsseg.comparators.explanations import (
    explain_levels,
    gated,
    grad_cam,
    gradients_enabled,
    layer_cam,
    spread_gradient,
)
from wsseg.comparators.gradient_maps import SliceClassifier
from wsseg.models import UNetEncoder


def classifier() -> SliceClassifier:
    torch.manual_seed(0)
    return SliceClassifier(UNetEncoder(2, (4, 8)), 2).eval()


def test_grad_cam_of_a_global_average_is_cam_up_to_a_factor() -> None:
    """Section 3.1 of Selvaraju et al."""
    network, image = classifier(), torch.randn(3, 2, 16, 16)
    logits, levels = network(image)
    pixels = levels[-1].shape[-2] * levels[-1].shape[-1]
    for c in range(2):
        (gradient,) = torch.autograd.grad(logits[:, c].sum(), [levels[-1]], retain_graph=True)
        cam = torch.einsum("bdhw,d->bhw", levels[-1], network.head.weight[c]).relu()
        torch.testing.assert_close(grad_cam(levels[-1], gradient) * pixels, cam)


def test_grad_cam_is_monais() -> None:
    from monai.visualize import GradCAM

    class LogitsOnly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = classifier()

        def forward(self, image: Tensor) -> Tensor:
            return self.inner(image)[0]

    def as_it_is(*given: object, **_: object) -> object:
        return given[0]

    network, image = LogitsOnly(), torch.randn(1, 2, 16, 16)
    theirs = GradCAM(network, "inner.encoder.blocks.1", lambda _: as_it_is, as_it_is)
    logits, levels = network.inner(image)
    for c in range(2):
        (gradient,) = torch.autograd.grad(logits[:, c].sum(), [levels[1]], retain_graph=True)
        expected = torch.as_tensor(theirs(image, class_idx=c))[:, 0]
        torch.testing.assert_close(grad_cam(levels[1], gradient).detach(), expected.detach())


def test_layer_cam_is_its_formula() -> None:
    rng = np.random.default_rng(0)
    activation, gradient = rng.normal(size=(2, 2, 3, 4, 5))
    expected = np.zeros((2, 4, 5))
    for b, y, x in np.ndindex(2, 4, 5):
        weights = np.maximum(gradient[b, :, y, x], 0)
        expected[b, y, x] = max(0.0, float(weights @ activation[b, :, y, x]))
    got = layer_cam(torch.tensor(activation), torch.tensor(gradient))
    np.testing.assert_allclose(got.numpy(), expected)


def test_a_pixel_gets_the_gradient_of_what_was_pooled_from_it() -> None:
    network, image = classifier(), torch.randn(2, 2, 16, 12)
    first, second = network.encoder.blocks
    level = first(image)
    pooled = F.max_pool2d(level, 2)
    score = network.head(second(pooled).mean(dim=(2, 3)))[:, 0].sum()
    of_level, of_pooled = torch.autograd.grad(score, [level, pooled])
    assert (of_level == 0).float().mean() >= 0.75
    expected = F.interpolate(of_pooled, (16, 12), mode="bilinear")
    torch.testing.assert_close(spread_gradient(of_level), expected)


def test_pooling_leaves_no_grid_in_shallow_levels() -> None:
    """Three quarters of the gradients were zero at every level but the deepest."""
    seen: list[Tensor] = []

    def explain(activation: Tensor, gradient: Tensor) -> Tensor:
        seen.append(gradient)
        return layer_cam(activation, gradient)

    logits, levels = classifier()(torch.randn(2, 2, 16, 16))
    explain_levels(levels, logits, explain, (16, 16))
    assert len(seen) == 4  # of two levels and two classes
    assert all((gradient != 0).float().mean() > 0.99 for gradient in seen)
    (exact,) = torch.autograd.grad(logits[:, 1].sum(), [levels[-1]])
    assert torch.equal(seen[-1], exact)  # nothing pools the deepest level


def test_shallow_levels_are_scaled_before_the_strongest_shows() -> None:
    coarse = torch.tensor([[[[0.0, 0.0, 1.0, 4.0]]]], requires_grad=True)
    fine = torch.tensor([[[[300.0, 150.0, 0.0, 0.0]]]], requires_grad=True)
    logits = (coarse.sum() + fine.sum()).view(1, 1)
    maps = explain_levels([fine, coarse], logits, layer_cam, (1, 4))
    # of the fine level: tanh of 2 and of 1; of the coarse one, which is the deepest: as it is
    expected = torch.tensor([np.tanh(2.0), np.tanh(1.0), 0.25, 1.0], dtype=torch.float32)
    torch.testing.assert_close(maps[0, 0, 0], expected)


def test_gradients_work_in_inference_mode() -> None:
    with torch.inference_mode():
        image = torch.ones(2)
        with gradients_enabled():
            leaf = image.clone().requires_grad_()
            (gradient,) = torch.autograd.grad((leaf**2).sum(), [leaf])
        assert not torch.is_inference_mode_enabled() or not torch.is_grad_enabled()
    assert gradient.tolist() == [2.0, 2.0]


def test_slices_without_the_tag_stay_dark() -> None:
    maps, valid = torch.rand(2, 1, 6, 6) + 0.1, torch.ones(2, 6, 6, dtype=torch.bool)
    shown = gated(maps, valid, torch.tensor([[0.9], [0.4]]))
    assert shown[0].max() == 1
    assert (shown[1] == 0).all()


def test_brightness_outside_anatomy_does_not_set_the_scale() -> None:
    maps, valid = torch.full((1, 1, 4, 4), 0.25), torch.ones(1, 4, 4, dtype=torch.bool)
    maps[0, 0, 0], valid[0, 0] = 50.0, False
    shown = gated(maps, valid, torch.ones(1, 1))
    assert (shown[valid[:, None]] == 1).all()


@pytest.mark.parametrize("kind", [GradCam, LayerCam])
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_maps_do_not_depend_on_the_batch_or_the_mode(kind: type[GradCam], precision: str) -> None:
    module, given = small(kind, SPEC).eval(), batch()
    with torch.no_grad():
        module.teacher.module.head.bias.fill_(3.0)  # both tags are predicted
    image, valid = given["image"], given["valid"]
    with torch.inference_mode(), torch.autocast("cpu", enabled=precision == "bf16"):
        together = module(image.clone(), valid)
        alone = torch.cat([module(image[[n]], valid[[n]]) for n in range(len(image))])
    assert together.amax(dim=(2, 3)).min() > 0.5
    assert not together.requires_grad
    torch.testing.assert_close(together, alone, atol=0.05 if precision == "bf16" else 1e-4, rtol=0)
