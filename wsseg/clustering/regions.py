"""Regions: connected parts of one slice, of which the activation chooses those that are relevant.

Clusters of a whole data set need tissue that looks alike in all patients. Where it does not, as on
photographs and ultrasound, a slice is divided by its own intensities: within one picture a lesion
is brighter or darker than what surrounds it, in one of the colours. The class activation, which is
blurred and lights up in places only, decides which of the many possible borders is the lesion's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.utils.errors import InputError
from wsseg.utils.smoothing import blur
from wsseg.utils.targets import IGNORE, limited_by

# A slice is divided at each of these numbers of levels of each channel, smoothed by a Gaussian of
# each of these widths (shares of the slice's longer side).
REGION_LEVELS = 12
REGION_BLURS = (1 / 128, 1 / 64, 1 / 32)
EXTREME_SHARE = 0.01  # of a slice's pixels at either end, between which the levels are spread
SMALLEST_REGION = 1 / 800  # share of a slice's pixels: of fewer the mean activation says little
VOTING_SHARE = 1 / 8  # of the divisions of a slice: the best ones vote
FEWEST_DIVIDED = 200  # pixels of a slice: fewer are left as they are
MOST_REGIONS = 16  # of a division that are compared with the activation
GRID = 64  # cells along the longer side of a slice, on which regions and activation are compared
# Width of the Gaussian by which a network blurs what it shows, as a share of a slice's longer side:
# when it has only learnt from tags, and when it has learnt from maps.
BLUR_OF_TAGS = 0.1
BLUR_OF_MAPS = 0.02
LEAST_SPREAD = 1e-3  # of the logits of a slice: with less there is nothing to choose by
LEAST_ACTIVATION = 1e-4  # no activation is taken for nearer to 0 or 1 than this


class Regions:
    """Makes the maps of slices from their own regions."""

    smoothing = 0.0
    needs_activation = True
    has_degrees = False

    def relevance(self, slices: PixelEmbeddings) -> Tensor:
        """Return the relevance of all pixels; slices do not affect each other.

        Args:
            slices: A batch with activation and image.

        Returns:
            [B, C, h, w]: 0 in the whole slice for a class that it is not tagged with, ``IGNORE`` if
            the tag is unknown, else the relevance, 0 or 1, at valid pixels and ``IGNORE`` at the
            others.

        Raises:
            InputError: The embeddings have no image.
        """
        if slices.image is None or slices.activation is None:
            raise InputError(
                "clustering.within_slices: embed_pixels gives no image; add PixelEmbeddings(image=)"
            )
        valid = slices.valid.cpu()
        activation, image = slices.activation.float().cpu(), slices.image.cpu()
        found = region_relevance(activation, image, valid, BLUR_OF_TAGS)
        # No pixel is left open: near the border that would spare only one of the two sides.
        found = (found > 0.5).float().masked_fill(~valid[:, None], IGNORE)
        return limited_by(slices.tags, found)


def region_relevance(
    activation: Tensor, image: Tensor, valid: Tensor, width: float = BLUR_OF_MAPS
) -> Tensor:
    """Find the regions of each slice that its activation tells best from the rest of it.

    A slice is divided in many ways: a level of one of its channels, more or less smoothed, has
    connected regions above and below it. Of each division those regions are chosen, the most
    activated ones first, whose union correlates best with the activation. (The square of this
    correlation is the criterion of Otsu, 1979, for regions instead of pixels.) The divisions with
    the highest correlation vote on every pixel.

    A network shows a lesion as it sees it: blurred. So the union is blurred before the comparison;
    otherwise the best regions would be those that fill the blurred spot instead of the lesion.

    Args:
        activation: [S, C, H, W] in [0, 1].
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.
        width: Width of the Gaussian that the network blurs by, as a share of the slice's longer
            side.

    Returns:
        [S, C, H, W] in [0, 1], 0 outside ``valid``: the share of votes. A slice that cannot be
        divided, because image or activation hardly vary in it, keeps its activation.

    Example:
        >>> image = torch.zeros(1, 1, 32, 32)
        >>> image[..., 8:24, 8:24] = 2.0  # a lesion, of which one side is activated
        >>> activation = torch.full((1, 1, 32, 32), 0.1)
        >>> activation[..., 8:24, 8:12] = 0.9
        >>> found = region_relevance(activation, image, torch.ones(1, 32, 32, dtype=torch.bool))
        >>> int((activation > 0.5).sum()), int((found > 0.5).sum())
        (64, 256)
    """
    found = activation.float() * valid[:, None]
    logits = torch.logit(activation.float(), LEAST_ACTIVATION)
    for shares, logit, picture, inside in zip(found, logits, image.float(), valid, strict=True):
        if inside.sum() < FEWEST_DIVIDED:
            continue
        spread = [channel for channel, each in enumerate(logit) if _spread(each[inside])]
        divisions = list(_divisions(picture, inside)) if spread else []
        for channel in spread:
            votes = _votes(divisions, Sight(logit[channel], inside, width))
            if votes is not None:
                shares[channel][inside] = torch.from_numpy(votes).float()
    return found


class _Division(NamedTuple):
    """A division of the n valid pixels of a slice into k regions."""

    region: NDArray[np.intp]  # of each pixel, [n]
    sizes: NDArray[np.intp]  # of each region, in pixels, [k]


def _spread(logit: Tensor) -> bool:
    low, high = logit.aminmax()
    return bool(high - low > LEAST_SPREAD)


def _divisions(picture: Tensor, inside: Tensor) -> Iterator[_Division]:
    """Divide a slice [M, H, W] at every level of every channel."""
    pixels = inside.numpy()
    ends = (EXTREME_SHARE, 1 - EXTREME_SHARE)
    for width in REGION_BLURS:
        smooth = blur(picture[None], inside[None, None], width * max(inside.shape))[0]
        for channel in smooth:
            # Not torch.quantile, which refuses more than 16 million values.
            low, high = np.quantile(channel[inside].numpy(), ends)
            for level in np.unique(np.linspace(low, high, REGION_LEVELS + 2)[1:-1]):
                above = channel.numpy() > level
                upper, count = ndimage.label(above & pixels)
                lower, more = ndimage.label(~above & pixels)
                if count and more:
                    region = np.where(above, upper - 1, lower + count - 1)[pixels]
                    yield _Division(region, np.bincount(region, minlength=count + more))


class Sight:
    """The activation of a slice on a grid of cells, and how regions would look to the network."""

    def __init__(self, logit: Tensor, inside: Tensor, width: float) -> None:
        """Average the activation of each cell.

        Args:
            logit: [H, W].
            inside: Valid pixels, [H, W] bool.
            width: See :func:`region_relevance`.
        """
        longest = max(inside.shape)
        side = -(-longest // GRID)
        self.shape = tuple(-(-length // side) for length in inside.shape)
        rows, columns = inside.numpy().nonzero()
        self.cell = rows // side * self.shape[1] + columns // side
        self.logit = logit[inside].double().numpy()
        self.weight = np.bincount(self.cell, minlength=self.cells)
        sums = np.bincount(self.cell, weights=self.logit, minlength=self.cells)
        known = self.weight > 0
        mean = np.divide(sums, self.weight, out=np.zeros(self.cells), where=known)
        self.share = self.weight / self.weight.sum()
        self.centred = torch.from_numpy((mean - (mean * self.share).sum()) * self.share).float()
        self.width = width * longest / side
        self.known = torch.from_numpy(known.reshape(1, 1, *self.shape))

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.shape[0] * self.shape[1]

    def correlate(self, unions: NDArray[np.float64]) -> NDArray[np.float32]:
        """Correlate blurred unions of regions with the activation, but for a constant factor.

        Args:
            unions: The share of each cell that each union covers, [n, cells].

        Returns:
            [n]; 0 for a union that covers all or nothing.
        """
        planes = torch.from_numpy(unions).float().view(1, len(unions), *self.shape)
        seen = blur(planes, self.known, self.width).flatten(2)[0]
        weight = torch.from_numpy(self.share).float()
        variance = (seen**2 @ weight - (seen @ weight) ** 2).clamp_min(0)
        found = torch.where(variance > 1e-6, seen @ self.centred / variance.sqrt(), 0.0)
        return found.numpy()


def _votes(divisions: list[_Division], sight: Sight) -> NDArray[np.float64] | None:
    """Return the share of the best divisions that choose each pixel, [n]; None without any."""
    orders = [_most_activated(division, sight) for division in divisions]
    unions = [
        _unions(division, order, sight) for division, order in zip(divisions, orders, strict=True)
    ]
    if not sum(map(len, orders)):
        return None
    correlations = np.split(
        sight.correlate(np.concatenate(unions)), np.cumsum([len(order) for order in orders])[:-1]
    )
    best = np.array([each.max(initial=0.0) for each in correlations])
    if best.max() <= 0:
        return None
    voters = np.argsort(-best, kind="stable")[: max(1, round(VOTING_SHARE * len(divisions)))]
    shares = np.zeros(len(sight.cell))
    for number in voters[best[voters] > 0]:
        chosen = orders[number][: correlations[number].argmax() + 1]
        shares += np.isin(divisions[number].region, chosen)
    found: NDArray[np.float64] = shares / (best[voters] > 0).sum()
    return found


def _most_activated(division: _Division, sight: Sight) -> NDArray[np.intp]:
    """Return the large regions in the order of their mean activation, the highest first, [k]."""
    sums = np.bincount(division.region, weights=sight.logit, minlength=len(division.sizes))
    large = np.flatnonzero(division.sizes >= SMALLEST_REGION * len(sight.logit))
    means = sums[large] / division.sizes[large]
    return large[np.argsort(-means, kind="stable")][:MOST_REGIONS]


def _unions(division: _Division, order: NDArray[np.intp], sight: Sight) -> NDArray[np.float64]:
    """Return which share of each cell the first regions cover, the first two, ..., [k, cells]."""
    rank = np.full(len(division.sizes), len(order))
    rank[order] = np.arange(len(order))
    place = rank[division.region] * sight.cells + sight.cell
    counts = np.bincount(place, minlength=(len(order) + 1) * sight.cells)
    counts = counts.reshape(-1, sight.cells)[: len(order)]
    covered: NDArray[np.float64] = counts.cumsum(axis=0) / np.maximum(sight.weight, 1)
    return covered
