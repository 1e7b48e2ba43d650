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
STRIDE = 2  # from a level to the next, in every encoder


def grad_cam(activation: Tensor, gradient: Tensor) -> Tensor:
    """Weigh each channel by its mean gradient (Selvaraju et al., ICCV 2017).

    Example:
        >>> activation = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels, 1x2 pixels
        >>> gradient = torch.tensor([[[[1.0, 1.0]], [[-1.0, 0.0]]]])  # their means are 1 and -0.5
        >>> grad_cam(activation, gradient)
        tensor([[[0., 2.]]])

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

    Example:
        >>> activation = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])  # two channels, 1x2 pixels
        >>> gradient = torch.tensor([[[[1.0, 1.0]], [[-1.0, 0.0]]]])
        >>> layer_cam(activation, gradient)
        tensor([[[1., 2.]]])

    Args:
        activation: [B, D, h, w].
        gradient: Of the class score by the activation, [B, D, h, w].

    Returns:
        [B, h, w], at least 0.
    """
    return (gradient.relu() * activation).sum(dim=1).relu()


def spread_gradient(gradient: Tensor) -> Tensor:
    """Give every pixel the gradient of what the next level sees of it.

    Of 2x2 pixels only one goes on to the next level, so that three quarters of a level's gradients
    are zero, and its map is a grid of points. Jiang et al. warn of it in their public code, which
    multiplies activations by the upsampled gradient of what was pooled from them. That gradient is
    the sum over the pixels that were pooled.

    Args:
        gradient: Of a level that another one follows, [B, D, h, w].

    Returns:
        [B, D, h, w].
    """
    pooled = F.avg_pool2d(gradient, STRIDE, ceil_mode=True, divisor_override=1)
    return F.interpolate(pooled, gradient.shape[-2:], mode="bilinear")


def explain_levels(
    levels: Sequence[Tensor], logits: Tensor, explain: Explain, size: Sequence[int]
) -> Tensor:
    """Explain every class on several levels; the strongest level shows.

    The deepest level is scaled to a maximum of 1, shallower ones by tanh(2 m / max m), as Jiang et
    al. do it because shallow maps are weak; gradients of these are spread, see
    :func:`spread_gradient`.

    Args:
        levels: Activations that the logits were computed from, [B, D, h, w] each, finest first. All
            but the last are followed by another level.
        logits: [B, C].
        explain: :func:`grad_cam` or :func:`layer_cam`.
        size: Height and width of the image.

    Returns:
        [B, C, H, W], at least 0.
    """
    classes = []
    for c in range(logits.shape[1]):
        gradients = torch.autograd.grad(logits[:, c].sum(), list(levels), retain_graph=True)
        dense = [*map(spread_gradient, gradients[:-1]), gradients[-1]]
        maps = [
            by_slice_maximum(explain(a.detach(), g)) for a, g in zip(levels, dense, strict=True)
        ]
        maps[:-1] = [torch.tanh(SCALE * each) for each in maps[:-1]]
        resized = [
            F.interpolate(each[:, None].float(), tuple(size), mode="bilinear") for each in maps
        ]
        classes.append(torch.cat(resized, dim=1).amax(dim=1))
    return torch.stack(classes, dim=1)


def by_slice_maximum(maps: Tensor) -> Tensor:
    """Scale every map to a maximum of 1; a map of zeros stays a map of zeros.

    Args:
        maps: [..., H, W], at least 0.
    """
    tiny = max(TINY, torch.finfo(maps.dtype).tiny)  # in float16 the first is 0
    return maps / maps.amax(dim=(-2, -1), keepdim=True).clamp_min(tiny)


def gated(maps: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
    """Turn maps without a scale into probabilities, by a rule that is fixed in advance.

    A map is scaled to a maximum of 1 within the body. Since that alone would find every class in
    every slice, the map is kept where the classifier finds the tag more likely than not; else it
    is 0.

    Example:
        >>> maps, valid = torch.tensor([[[[1.0, 4.0]]]]), torch.ones(1, 1, 2, dtype=torch.bool)
        >>> gated(maps, valid, tags=torch.tensor([[0.9]]))
        tensor([[[[0.2500, 1.0000]]]])

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
