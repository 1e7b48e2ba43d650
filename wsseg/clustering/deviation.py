"""A view of what is abnormal: how a place differs from the same place in untagged slices.

Oedema looks like grey matter on T1, but it lies where other patients have white matter. The normal
appearance of a place is the mean over the untagged slices of the same level. It is unknown where
few cases have such slices: their mean would show the anatomy of these patients, and the deviation
from it would separate patients from each other instead of lesions from healthy tissue.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.statistics import BUCKETS, round_to_unit
from wsseg.clustering.views import View, image_of
from wsseg.utils.distributed import Collective
from wsseg.utils.smoothing import blur

PLACE_BLUR = 5.0
"""Width in pixels of the Gaussian that images are smoothed with before places are compared: anatomy
differs between patients. Suits organs 70 or more pixels wide. Not measured."""

CELL = 4
"""Side in pixels of a cell of the coarse grid on which the normal appearance is stored: it is so
smooth that nothing is lost."""

ENOUGH_CASES = 8
"""Cases that must have untagged slices of a level before their mean counts as normal. With the four
or five of a fold of BraTS 2018, the deviation separated patients instead of lesions."""


@dataclass(frozen=True)
class Deviation(View):
    """Difference from the normal appearance of each place; two of every four clusterings see it.

    These are the third and the fourth. With ``Asymmetry``, which the second and the fourth see, one
    clustering then sees the features alone, which show borders best, and one sees all. On T1 alone
    of the phantoms, Dice rose from 0.019 to 0.476 with it; with four modalities it gains nothing
    (experiments/results).
    """

    share: ClassVar[float | None] = 0.25  # not measured; the features must count most

    def is_seen_by(self, clustering: int) -> bool:
        """Return whether a clustering sees the view."""
        return clustering % 4 >= 2

    def learn(self, untagged: Iterable[PixelEmbeddings], collective: Collective) -> Tensor:
        """Learn the normal appearance; see :func:`learn_normal`."""
        with collective.together("learning what untagged slices look like"):
            parts = [
                coarse_slices(batch, smoothed_appearance(image_of(batch, self), batch.valid))
                for batch in untagged
            ]
        return learn_normal(parts, collective)

    def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
        """Return the deviation of every modality, [B, M, h, w]; 0 where that is unknown."""
        appearance = smoothed_appearance(image_of(slices, self), slices.valid)
        return deviation(appearance, learned, slices.levels)


class CoarseSlices(NamedTuple):
    """The appearance of some untagged slices on a coarse grid; all tensors on the CPU."""

    level: Tensor
    """[B] int64, below ``BUCKETS``."""
    case: Tensor
    """[B] int64."""
    sums: Tensor
    """From :func:`coarse_sums`, [B, M + 1, h', w']."""


def smoothed_appearance(image: Tensor, valid: Tensor) -> Tensor:
    """Smooth an image until it can be compared between patients.

    Args:
        image: [B, M, h, w].
        valid: Valid pixels, [B, h, w] bool.

    Returns:
        [B, M, h, w].
    """
    return blur(image, valid[:, None], PLACE_BLUR)


def coarse_sums(appearance: Tensor, valid: Tensor) -> Tensor:
    """Average the appearance over the cells of a coarse grid.

    Args:
        appearance: [B, M, h, w].
        valid: [B, h, w] bool.

    Returns:
        [B, M + 1, h', w'] float32, means over each cell: the appearance, counted as 0 at pixels
        that are not valid, and as last channel the share of valid pixels.
    """
    weight = valid[:, None].float()
    values = torch.cat((appearance.float() * weight, weight), dim=1)
    height, width = (-(-length // CELL) for length in valid.shape[-2:])
    return F.adaptive_avg_pool2d(values, (height, width))


def coarse_slices(batch: PixelEmbeddings, appearance: Tensor) -> CoarseSlices:
    """Return the coarse appearance of the untagged slices of a batch.

    Args:
        batch: The slices.
        appearance: From :func:`smoothed_appearance`, [B, M, h, w].
    """
    rows = batch.untagged
    sums = coarse_sums(appearance[rows], batch.valid[rows])
    level = batch.levels[rows].remainder(BUCKETS)
    return CoarseSlices(level.cpu(), batch.cases[rows].cpu(), sums.cpu())


def learn_normal(parts: Sequence[CoarseSlices], collective: Collective) -> Tensor:
    """Return the normal appearance of each place, by the untagged slices of all processes.

    Args:
        parts: The untagged slices of this process.
        collective: The processes, all of which must call this.

    Returns:
        See :func:`normal_by_level`; [0, 0, 0, 0] without slices.
    """
    shapes = [tuple(part.sums.shape[1:]) for part in parts] or [(0, 0, 0)]
    shape = [collective.maximum(max(lengths)) for lengths in zip(*shapes, strict=True)]
    empty = torch.empty(0, dtype=torch.int64)
    parts = [CoarseSlices(empty, empty, torch.empty(0, *shape)), *parts]
    level, case, sums = map(torch.cat, zip(*parts, strict=True))
    levels = collective.maximum(max(level.tolist(), default=-1) + 1)
    # Rounding makes sums exact in any order.
    total = torch.zeros(levels, *shape, dtype=torch.float64)
    total.index_add_(0, level, round_to_unit(sums.double()))
    slices = collective.gather(torch.stack((level, case), dim=1))
    cases = torch.unique(slices, dim=0)
    counts = (torch.bincount(rows[:, 0], minlength=levels) for rows in (slices, cases))
    return normal_by_level(collective.sum(total), *counts)


def normal_by_level(sums: Tensor, slices: Tensor, cases: Tensor) -> Tensor:
    """Return the normal appearance of each place of each level.

    Args:
        sums: Sums over untagged slices of their :func:`coarse_sums`, [G, M + 1, h', w'].
        slices: Number of these slices, [G].
        cases: Number of cases that they belong to, [G].

    Returns:
        [G, M, h', w'] float32; NaN where fewer than ``ENOUGH_CASES`` cases have untagged slices, or
        where less than half of a cell is valid on average.
    """
    total, weight = sums[:, :-1], sums[:, -1:]
    enough = (cases >= ENOUGH_CASES)[:, None, None, None] & (
        weight >= 0.5 * slices[:, None, None, None].clamp_min(1)
    )
    return torch.where(enough, total / weight.clamp_min(1e-6), torch.nan).float()


def deviation(appearance: Tensor, learned: Tensor, level: Tensor) -> Tensor:
    """Return how slices differ from the normal appearance, 0 where that is unknown.

    Args:
        appearance: From :func:`smoothed_appearance`, [B, M, h, w].
        learned: From :func:`learn_normal`.
        level: Level of each slice, [B] int64.

    Returns:
        [B, M, h, w].
    """
    if not len(learned):  # every training slice has a tag
        return torch.zeros_like(appearance)
    normal = normal_appearance(learned.to(appearance.device), level, *appearance.shape[2:])
    return torch.where(normal.isnan(), 0.0, appearance - normal)


def normal_appearance(normal: Tensor, level: Tensor, height: int, width: int) -> Tensor:
    """Return the normal appearance at the levels of slices.

    Args:
        normal: From :func:`normal_by_level`, [G, M, h', w'].
        level: Level of each slice, [B] int64.
        height: Height of the slices.
        width: Width of the slices.

    Returns:
        [B, M, h, w]; NaN where that is unknown.
    """
    known = F.pad(
        normal, (0, 0, 0, 0, 0, 0, 0, 1), value=torch.nan
    )  # a last row for levels that are not known
    row = level.remainder(BUCKETS).clamp_max(len(normal))
    return F.interpolate(known[row], (height, width), mode="bilinear", align_corners=False)
