"""How a place differs from what untagged slices show there: a lesion is out of place.

Oedema looks like grey matter on T1; that it lies where other patients have white matter gives it
away. What is normal at a place is the mean over untagged slices of the same level, where enough
patients have some: with few of them the mean is that of their own anatomy, and a deviation from it
tells patients apart instead of lesions from healthy tissue. It is unknown elsewhere. It is found
once, so that an appearance must not change in training, as features of a network would.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.statistics import BUCKETS, exact
from wsseg.utils.distributed import Collective
from wsseg.utils.smoothing import blur

WIDTH = 5.0  # pixels; anatomy differs between patients, so that only broad differences count
CELL = 4  # pixels; maps that are so smooth lose nothing on a coarser grid
PATIENTS = 8  # that must have untagged slices of a level


class Untagged(NamedTuple):
    """Some slices without any tag."""

    level: Tensor
    """[B] int64, below ``BUCKETS``."""
    case: Tensor
    """The patient of each, [B] int64."""
    sums: Tensor
    """From :func:`coarse_sums`, [B, E + 1, h', w']. All are on the CPU."""


def appearance(image: Tensor, valid: Tensor) -> Tensor:
    """Return what pixels and their surroundings look like, to be compared from patient to patient.

    Args:
        image: Slices, [B, M, h, w].
        valid: Pixels that hold anatomy, [B, h, w] bool.

    Returns:
        [B, M, h, w].
    """
    return blur(image, valid[:, None], WIDTH)


def coarse_sums(appearance: Tensor, valid: Tensor) -> Tensor:
    """Add up the appearance in the cells of a coarse grid.

    Args:
        appearance: [B, E, h, w].
        valid: [B, h, w] bool.

    Returns:
        [B, E + 1, h', w'] float32: the appearance of the valid pixels of each cell, and behind it
        their share, both as means over the cell.
    """
    weight = valid[:, None].float()
    values = torch.cat((appearance.float() * weight, weight), dim=1)
    height, width = (-(-length // CELL) for length in valid.shape[-2:])
    return F.adaptive_avg_pool2d(values, (height, width))


def untagged_slices(batch: PixelEmbeddings) -> list[Untagged]:
    """Return what the untagged slices of a batch tell of normal appearance.

    Args:
        batch: The slices.

    Returns:
        A single element, or none if the module gives no appearance.
    """
    if batch.appearance is None:
        return []
    rows = ~(batch.tags > 0.5).any(dim=1)
    sums = coarse_sums(batch.appearance[rows], batch.valid[rows])
    level = batch.levels[rows].remainder(BUCKETS)
    return [Untagged(level.cpu(), batch.cases[rows].cpu(), sums.cpu())]


def find_norms(parts: Sequence[Untagged], collective: Collective) -> Tensor:
    """Return what is normal at each place, by the untagged slices of all processes.

    Args:
        parts: Those of this process.
        collective: The processes, all of which must call this.

    Returns:
        See :func:`norm`; [0, 0, 0, 0] if no slice has an appearance.
    """
    shapes = [tuple(part.sums.shape[1:]) for part in parts] or [(0, 0, 0)]
    shape = [collective.maximum(max(lengths)) for lengths in zip(*shapes, strict=True)]
    nothing = torch.empty(0, dtype=torch.int64)
    parts = [Untagged(nothing, nothing, torch.empty(0, *shape)), *parts]
    level, case, sums = map(torch.cat, zip(*parts, strict=True))
    levels = collective.maximum(max(level.tolist(), default=-1) + 1)
    # Rounded first, sums are exact in any order.
    total = torch.zeros(levels, *shape, dtype=torch.float64)
    total.index_add_(0, level, exact(sums.double()))
    slices = collective.gather(torch.stack((level, case), dim=1))
    patients = torch.unique(slices, dim=0)
    counts = (torch.bincount(each[:, 0], minlength=levels) for each in (slices, patients))
    return norm(collective.sum(total), *counts)


def norm(sums: Tensor, slices: Tensor, patients: Tensor) -> Tensor:
    """Return what is normal at each place.

    Args:
        sums: Sums over untagged slices of their :func:`coarse_sums`, by level,
            [G, E + 1, h', w'].
        slices: Number of these slices, [G].
        patients: Number of patients that they are of, [G].

    Returns:
        [G, E, h', w'] float32; NaN where fewer than ``PATIENTS`` have untagged slices, and where
        less than half of the slices hold anatomy.
    """
    total, weight = sums[:, :-1], sums[:, -1:]
    enough = (patients >= PATIENTS)[:, None, None, None] & (
        weight >= 0.5 * slices[:, None, None, None].clamp_min(1)
    )
    return torch.where(enough, total / weight.clamp_min(1e-6), torch.nan).float()


def normal_appearance(norms: Tensor, level: Tensor, height: int, width: int) -> Tensor:
    """Return what slices would look like if they were normal.

    Args:
        norms: From :func:`norm`, [G, E, h', w'].
        level: Of the slices, [B] int64.
        height: Of the slices.
        width: Of the slices.

    Returns:
        [B, E, h, w]; NaN where that is unknown.
    """
    known = F.pad(norms, (0, 0, 0, 0, 0, 0, 0, 1), value=torch.nan)  # a row for other levels
    row = level.remainder(BUCKETS).clamp_max(len(norms))
    return F.interpolate(known[row], (height, width), mode="bilinear", align_corners=False)


def deviate(appearance: Tensor, normal: Tensor) -> Tensor:
    """Return the difference from what is normal, 0 where that is unknown."""
    return torch.where(normal.isnan(), 0.0, appearance - normal)


def compare(batch: PixelEmbeddings, norms: Tensor) -> PixelEmbeddings:
    """Return slices with their deviation from what is normal in place of their appearance.

    Args:
        batch: The slices.
        norms: See :func:`norm`.
    """
    if batch.appearance is None:
        return batch
    norms = norms.to(batch.appearance.device)
    normal = normal_appearance(norms, batch.levels, *batch.valid.shape[1:])
    return batch._replace(appearance=deviate(batch.appearance, normal))
