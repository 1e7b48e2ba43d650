"""The clustering, the votes and the loss of the authors' recipe, as pure functions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.kmeans import assign, fit_kmeans
from wsseg.comparators.paired_maps import TINY, weighted_cross_entropy

OUTSIDE = -1  # the label of a pixel that no cluster has
BOUND = 1e-3  # how near to 0 and 1 the bounded loss lets a pixel come
CLIP = 0.9  # the share of pixels below the brightness that reconstruction clips at


class Judgement(NamedTuple):
    """What the votes say of every cluster and class, [K, C] bool each."""

    relevant: Tensor
    irrelevant: Tensor


def standardise_slices(image: Tensor, valid: Tensor) -> Tensor:
    """Give each modality of each whole slice mean 0 and deviation 1, background included.

    Args:
        image: [B, M, H, W], any intensities.
        valid: [B, H, W] bool; the rest becomes as dark as the darkest anatomy.

    Returns:
        [B, M, H, W].
    """
    filled = _dark_background(image, valid)
    centred = filled - filled.mean(dim=(2, 3), keepdim=True)
    return centred / (centred.std(dim=(2, 3), keepdim=True) + TINY)


def reconstruction_target(image: Tensor, valid: Tensor) -> Tensor:
    """Scale one modality to [-1, 1], clipped at the 90th percentile of the slice.

    Args:
        image: [B, H, W], any intensities.
        valid: [B, H, W] bool; the rest becomes -1.
    """
    dark = _dark_background(image[:, None], valid)[:, 0].flatten(1)
    low = dark.amin(dim=1, keepdim=True)
    high = torch.quantile(dark.float(), CLIP, dim=1, keepdim=True)
    unit = (dark.minimum(high) - low) / (high - low + TINY)
    return (2 * unit - 1).view_as(image)


def _dark_background(image: Tensor, valid: Tensor) -> Tensor:
    inside = valid[:, None]
    lowest = image.masked_fill(~inside, torch.inf).amin(dim=(2, 3), keepdim=True)
    return torch.where(inside, image, lowest.masked_fill(lowest.isinf(), 0.0))


def cluster_batch(
    features: Tensor, valid: Tensor, k: int, seed: int, *, anatomy_only: bool
) -> Tensor:
    """Cluster the pixels of a batch by k-means.

    Args:
        features: [B, D, H, W].
        valid: [B, H, W] bool.
        k: Number of clusters.
        seed: Chooses the starting points.
        anatomy_only: Cluster valid pixels; otherwise all, with zeros outside anatomy.

    Returns:
        Cluster of every pixel, [B, H, W]; ``OUTSIDE`` where there is none.
    """
    pixels = (features.detach().float() * valid[:, None]).permute(0, 2, 3, 1)
    labels = torch.full(valid.shape, OUTSIDE, device=valid.device)
    chosen = valid if anatomy_only else torch.ones_like(valid)
    points = pixels[chosen].contiguous()
    if len(points) >= k:
        labels[chosen] = assign(points, fit_kmeans(points, k, seed)[None])[:, 0]
    return labels


def vote(cam: Tensor, labels: Tensor, tags: Tensor, k: int) -> Judgement:
    """Rate every cluster by what its pixels alone would make of every slice.

    A cluster is irrelevant to a class if it makes any untagged slice vote for the class, and
    relevant if it makes some slice, but no untagged one.

    Args:
        cam: [B, C, 2, H, W].
        labels: [B, H, W].
        tags: [B, C], 0 or 1.
        k: Number of clusters.
    """
    found = pooled(cam, labels, k)
    votes = found[..., 1] > found[..., 0]  # [K, B, C]
    irrelevant = (votes & (tags == 0)).any(dim=1)
    return Judgement(votes.any(dim=1) & ~irrelevant, irrelevant)


def pooled(cam: Tensor, labels: Tensor, k: int, *, inside: bool = False) -> Tensor:
    """Average the CAM of every slice over the pixels of one cluster at a time.

    Args:
        cam: [B, C, 2, H, W].
        labels: [B, H, W].
        k: Number of clusters.
        inside: Divide by the number of the cluster's pixels, instead of by that of all pixels.

    Returns:
        [K, B, C, 2].
    """
    kept = _one_hot(labels, k)
    total: Tensor = torch.einsum("bchw,bkhw->kbc", cam.flatten(1, 2), kept).unflatten(
        2, cam.shape[1:3]
    )
    if not inside:
        return total / labels[0].numel()
    return total / kept.sum(dim=(2, 3)).clamp_min(1).T[:, :, None, None]


def cluster_loss(
    cam: Tensor,
    labels: Tensor,
    tags: Tensor,
    weights: Tensor,
    k: int,
    *,
    bounded: bool = False,
    inside: bool = False,
    tagged_only: bool = False,
) -> Tensor:
    """Push relevant clusters to 1 and irrelevant ones to 0.

    Without switches it is the authors' loss: every pixel outside the cluster counts as 0, the
    gradient has no bound, and a relevant cluster is pushed in untagged slices as well.

    Args:
        cam: [B, C, 2, H, W].
        labels: [B, H, W].
        tags: [B, C], 0 or 1.
        weights: Of (background, class) in the cross-entropy, [C, 2].
        k: Number of clusters.
        bounded: Keep pixels away from 0 and 1, which bounds the gradient.
        inside: Count nothing but the cluster's own pixels.
        tagged_only: Push relevant clusters in tagged slices only, and to 0 in the others.

    Returns:
        A scalar, the mean over clusters.
    """
    relevant, irrelevant = vote(cam.detach(), labels, tags, k)
    logits = pooled(cam, labels, k, inside=inside)
    positive, negative = _pixel_losses(cam[:, :, 1], bounded)
    losses = []
    for cluster in range(k):
        target = relevant[cluster].to(cam.dtype) * (tags if tagged_only else torch.ones_like(tags))
        kept = (labels == cluster)[:, None].to(cam.dtype)
        pushed = torch.where(target[:, :, None, None] > 0, positive, negative) * kept
        if inside:
            pixels = pushed.sum(dim=(2, 3)) / kept.sum(dim=(2, 3)).clamp_min(1)
        else:  # what is not kept is 0: perfect for a target of 0, and a constant for 1
            missed = 1 - kept.mean(dim=(2, 3))
            pixels = pushed.mean(dim=(2, 3)) + target * missed * _worst(bounded)
        for c in torch.nonzero((relevant | irrelevant)[cluster])[:, 0].tolist():
            entropy = weighted_cross_entropy(logits[cluster][:, [c]], target[:, [c]], weights[[c]])
            losses.append(pixels[:, c].mean() + entropy)
    if not losses:
        return cam.sum() * 0
    return torch.stack(losses).sum() / (k * cam.shape[1])


def _pixel_losses(found: Tensor, bounded: bool) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of every pixel with 1 and with 0."""
    if bounded:
        found = BOUND + (1 - 2 * BOUND) * found
    # torch's own, for its limit of 100 and its gradient at 0 and 1
    entropy = torch.nn.functional.binary_cross_entropy
    found = found.clamp(0, 1)
    return (
        entropy(found, torch.ones_like(found), reduction="none"),
        entropy(found, torch.zeros_like(found), reduction="none"),
    )


def _worst(bounded: bool) -> float:
    """Return the loss of a pixel of 0 that should be 1."""
    return float(-torch.log(torch.tensor(BOUND))) if bounded else 100.0


def _one_hot(labels: Tensor, k: int) -> Tensor:
    numbers = torch.arange(k, device=labels.device)[None, :, None, None]
    return (labels[:, None] == numbers).float()
