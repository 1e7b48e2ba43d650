"""Maps that explain a classifier's score, as pure functions of activations and gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import functional as F

Explain = Callable[[Tensor, Tensor], Tensor]
"""From a level's activations and gradients, [B, D, h, w] each, to a map [B, h, w], at least 0."""

TINY = 1e-9
SCALE = 2.0  # gamma of LayerCAM's equation for shallow levels


def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by its mean gradient (Selvaraju et al., ICCV 2017).

    Args:
        activation: [B, D, h, w].
        gradient: Of the class score by the activation, [B, D, h, w].

    Returns:
        [B, h, w], at least 0.
    """
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * activation).sum(dim=1).relu()


def layer_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each place of each channel by its own positive gradient (Jiang et al., TIP 2021).

    Args:
        activation: [B, D, h, w].
        gradient: Of the class score by the activation, [B, D, h, w].

    Returns:
        [B, h, w], at least 0.
    """
    return (gradient.relu() * activation).sum(dim=1).relu()


def explain_levels(
    levels: Sequence[Tensor], logits: Tensor, explain: Explain, size: Sequence[int]
) -> Tensor:
    """Explain every class on several levels; the strongest level shows.

    A single level is resized as it is. Of several, each is first scaled by tanh(2 m / max m), as
    Jiang et al. do it, to make shallow levels comparable.

    Args:
        levels: Activations that the logits were computed from, [B, D, h, w] each.
        logits: [B, C].
        explain: :func:`grad_cam` or :func:`layer_cam`.
        size: Height and width of the image.

    Returns:
        [B, C, H, W], at least 0.
    """
    classes = []
    for c in range(logits.shape[1]):
        gradients = torch.autograd.grad(logits[:, c].sum(), list(levels), retain_graph=True)
        maps = [explain(a.detach(), g) for a, g in zip(levels, gradients, strict=True)]
        if len(maps) > 1:
            maps = [torch.tanh(SCALE * by_slice_maximum(each)) for each in maps]
        resized = [
            F.interpolate(each[:, None].float(), tuple(size), mode="bilinear") for each in maps
        ]
        classes.append(torch.cat(resized, dim=1).amax(dim=1))
    return torch.stack(classes, dim=1)


def by_slice_maximum(maps: Tensor) -> Tensor:
    """Scale every map to a maximum of 1; a map of zeros stays one.

    Args:
        maps: [..., H, W], at least 0.
    """
    return maps / maps.amax(dim=(-2, -1), keepdim=True).clamp_min(TINY)


def gated(maps: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
    """Turn maps without a scale into probabilities, by a rule that is fixed in advance.

    A map is scaled to a maximum of 1 within the anatomy of its slice, which alone would light up
    every slice; it is shown where the classifier finds the tag more likely than not, else 0.

    Args:
        maps: [B, C, H, W], at least 0.
        valid: [B, H, W] bool.
        tags: Probability of every tag, [B, C].

    Returns:
        [B, C, H, W] in [0, 1].
    """
    shown = by_slice_maximum(maps * valid[:, None])
    return shown * (tags > 0.5)[:, :, None, None]


@contextmanager
def gradients_enabled() -> Iterator[None]:
    """Record gradients even within ``inference_mode``, in which Lightning and prediction run.

    Tensors from outside must be cloned inside: those of inference mode cannot take part.
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield
