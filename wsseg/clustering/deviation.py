"""The view of what is out of place: how a place differs from the same place in untagged slices.

Oedema looks like grey matter on T1; that it lies where other patients have white matter gives it
away. What is normal at a place is the mean over untagged slices of the same level, where enough
cases have some: with few of them the mean is that of their own anatomy, and a deviation from it
tells patients apart instead of lesions from healthy tissue. It is unknown elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.statistics import BUCKETS, exact
from wsseg.clustering.views import View, image_of
from wsseg.utils.distributed import Collective
from wsseg.utils.smoothing import blur

PLACE_BLUR = 5.0
"""Width in pixels of the Gaussian under which places are compared: anatomy differs between
patients, so that only broad differences count. Suits anatomy of 70 pixels and more. Not
measured."""

CELL = 4
"""Side in pixels of a cell of the grid on which the normal appearance is kept: maps as smooth as
these lose nothing."""

ENOUGH_CASES = 8
"""Cases that must have untagged slices of a level before their mean counts as normal. With the four
or five of a fold of BraTS 2018, the deviation told patients apart instead of lesions."""


@dataclass(frozen=True)
class Deviation(View):
    """The difference from what is normal at each place; two of every four clusterings see it.

    The third and the fourth: one clustering sees the features alone, which show borders best, and
    one sees all. On T1 alone of the phantoms, Dice rose from 0.019 to 0.476 with it; with four
    modalities it gains nothing (experiments/results).
    """

    share: ClassVar[float | None] = 0.25  # not measured; the features must lead

    def is_seen_by(self, clustering: int) -> bool:
        """Tell whether a clustering sees the view."""
        return clustering % 4 >= 2

    def learn(self, untagged: Iterable[PixelEmbeddings], collective: Collective) -> Tensor:
        """Learn what is normal; see :func:`learn_normal`."""
        with collective.together("learning what untagged slices look like"):
            parts = [
                coarse_slices(batch, surroundings(image_of(batch, self), batch.valid))
                for batch in untagged
            ]
        return learn_normal(parts, collective)

    def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
        """Return the deviation of every modality, [B, M, h, w]; 0 where the normal is unknown."""
        appearance = surroundings(image_of(slices, self), slices.valid)
        return deviation(appearance, learned, slices.levels)


class CoarseSlices(NamedTuple):
    """What some untagged slices look like, on a coarse grid; all on the CPU."""

    level: Tensor
    """[B] int64, below ``BUCKETS``."""
    case: Tensor
    """[B] int64."""
    sums: Tensor
    """From :func:`coarse_sums`, [B, M + 1, h', w']."""


def surroundings(image: Tensor, valid: Tensor) -> Tensor:
    """Return what pixels and their surroundings look like, to be compared between patients.

    Args:
        image: Slices, [B, M, h, w].
        valid: Pixels that hold anatomy, [B, h, w] bool.

    Returns:
        [B, M, h, w].
    """
    return blur(image, valid[:, None], PLACE_BLUR)


def coarse_sums(appearance: Tensor, valid: Tensor) -> Tensor:
    """Add up the appearance in the cells of a coarse grid.

    Args:
        appearance: [B, M, h, w].
        valid: [B, h, w] bool.

    Returns:
        [B, M + 1, h', w'] float32: the appearance of the valid pixels of each cell, and behind it
        their share, both as means over the cell.
    """
    weight = valid[:, None].float()
    values = torch.cat((appearance.float() * weight, weight), dim=1)
    height, width = (-(-length // CELL) for length in valid.shape[-2:])
    return F.adaptive_avg_pool2d(values, (height, width))


def coarse_slices(batch: PixelEmbeddings, appearance: Tensor) -> CoarseSlices:
    """Return what the untagged slices of a batch look like.

    Args:
        batch: The slices.
        appearance: What they look like, [B, M, h, w].
    """
    rows = ~batch.tagged
    sums = coarse_sums(appearance[rows], batch.valid[rows])
    level = batch.levels[rows].remainder(BUCKETS)
    return CoarseSlices(level.cpu(), batch.cases[rows].cpu(), sums.cpu())


def learn_normal(parts: Sequence[CoarseSlices], collective: Collective) -> Tensor:
    """Return what is normal at each place, by the untagged slices of all processes.

    Args:
        parts: Those of this process.
        collective: The processes, all of which must call this.

    Returns:
        See :func:`normal_by_level`; [0, 0, 0, 0] without slices.
    """
    shapes = [tuple(part.sums.shape[1:]) for part in parts] or [(0, 0, 0)]
    shape = [collective.maximum(max(lengths)) for lengths in zip(*shapes, strict=True)]
    nothing = torch.empty(0, dtype=torch.int64)
    parts = [CoarseSlices(nothing, nothing, torch.empty(0, *shape)), *parts]
    level, case, sums = map(torch.cat, zip(*parts, strict=True))
    levels = collective.maximum(max(level.tolist(), default=-1) + 1)
    # Rounded first, sums are exact in any order.
    total = torch.zeros(levels, *shape, dtype=torch.float64)
    total.index_add_(0, level, exact(sums.double()))
    slices = collective.gather(torch.stack((level, case), dim=1))
    cases = torch.unique(slices, dim=0)
    counts = (torch.bincount(each[:, 0], minlength=levels) for each in (slices, cases))
    return normal_by_level(collective.sum(total), *counts)


def normal_by_level(sums: Tensor, slices: Tensor, cases: Tensor) -> Tensor:
    """Return what is normal at each place of each level.

    Args:
        sums: Sums over untagged slices of their :func:`coarse_sums`, [G, M + 1, h', w'].
        slices: Number of these slices, [G].
        cases: Number of cases that they are of, [G].

    Returns:
        [G, M, h', w'] float32; NaN where fewer than ``ENOUGH_CASES`` have untagged slices, and
        where less than half of the slices hold anatomy.
    """
    total, weight = sums[:, :-1], sums[:, -1:]
    enough = (cases >= ENOUGH_CASES)[:, None, None, None] & (
        weight >= 0.5 * slices[:, None, None, None].clamp_min(1)
    )
    return torch.where(enough, total / weight.clamp_min(1e-6), torch.nan).float()


def deviation(appearance: Tensor, learned: Tensor, level: Tensor) -> Tensor:
    """Return how slices differ from what is normal, 0 where that is unknown.

    Args:
        appearance: [B, M, h, w].
        learned: From :func:`learn_normal`.
        level: Level of each slice, [B] int64.

    Returns:
        [B, M, h, w].
    """
    normal = normal_appearance(learned.to(appearance.device), level, *appearance.shape[2:])
    return torch.where(normal.isnan(), 0.0, appearance - normal)


def normal_appearance(normal: Tensor, level: Tensor, height: int, width: int) -> Tensor:
    """Return what slices would look like if they were normal.

    Args:
        normal: From :func:`normal_by_level`, [G, M, h', w'].
        level: Level of each slice, [B] int64.
        height: Height of the slices.
        width: Width of the slices.

    Returns:
        [B, M, h, w]; NaN where that is unknown.
    """
    known = F.pad(normal, (0, 0, 0, 0, 0, 0, 0, 1), value=torch.nan)  # a row for other levels
    row = level.remainder(BUCKETS).clamp_max(len(normal))
    return F.interpolate(known[row], (height, width), mode="bilinear", align_corners=False)
