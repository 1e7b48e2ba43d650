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
CERTAIN_LOGIT = 2.0  # activation of pixels that are relevant anyway: a lesion may fill the slice
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
        found = region_relevance(slices.activation.float().cpu(), slices.image.cpu(), valid)
        # No pixel is left open: near the border that would spare only one of the two sides.
        found = (found > 0.5).float().masked_fill(~valid[:, None], IGNORE)
        return limited_by(slices.tags, found)


def region_relevance(activation: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Find the regions of each slice that its activation tells best from the rest of it.

    A slice is divided in many ways: a level of one of its channels, more or less smoothed, has
    connected regions above and below it. Of each division those regions are chosen whose mean
    activation is highest, as many as give the largest variance between chosen and other pixels
    (the criterion of Otsu, 1979, here for regions instead of pixels). The divisions for which this
    variance is largest vote on every pixel.

    Args:
        activation: [S, C, H, W] in [0, 1].
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.

    Returns:
        [S, C, H, W] in [0, 1], 0 outside ``valid``: the share of votes, or the activation where
        that is higher and certain. A slice that cannot be divided, because image or activation
        hardly vary in it, keeps its activation.

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
            votes = _votes(divisions, logit[channel][inside].double().numpy())
            if votes is not None:
                certain = shares[channel][inside] * (logit[channel][inside] > CERTAIN_LOGIT)
                shares[channel][inside] = certain.maximum(torch.from_numpy(votes).float())
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


def _votes(
    divisions: list[_Division], activation: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return the share of the best divisions that choose each pixel, [n]; None without any."""
    centred = activation - activation.mean()
    chosen = [_choose(division, centred) for division in divisions]
    variances = np.array([variance for variance, _ in chosen])
    if not len(variances) or variances.max() <= 0:
        return None
    best = np.argsort(-variances, kind="stable")[: max(1, round(VOTING_SHARE * len(divisions)))]
    voters = [number for number in best if variances[number] > 0]
    shares: NDArray[np.float64] = np.mean(
        [chosen[number][1][divisions[number].region] for number in voters], axis=0
    )
    return shares


def _choose(division: _Division, centred: NDArray[np.float64]) -> tuple[float, NDArray[np.bool_]]:
    """Choose the regions that differ most from the others in their activation.

    Args:
        division: The regions.
        centred: The activation minus its mean, [n].

    Returns:
        The variance between chosen and other pixels, 0 if no choice is possible, and whether each
        region is chosen, [k].
    """
    sizes = division.sizes
    sums = np.bincount(division.region, weights=centred, minlength=len(sizes))
    large = np.flatnonzero(sizes >= SMALLEST_REGION * len(centred))
    order = large[np.argsort(-sums[large] / sizes[large], kind="stable")]
    share = np.cumsum(sizes[order]) / len(centred)
    inside = np.cumsum(sums[order]) / len(centred)
    possible = share < 1
    variance = np.where(possible, inside**2 / np.where(possible, share * (1 - share), 1.0), 0.0)
    chosen = np.zeros(len(sizes), bool)
    if not len(variance):
        return 0.0, chosen
    last = int(variance.argmax())
    chosen[order[: last + 1]] = True
    return float(variance[last]), chosen
