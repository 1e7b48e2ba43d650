"""Segments: clusters within one slice, whose activation decides which of them are relevant.

Clusters of a whole data set need tissue that looks alike in all patients. Where it does not, as on
photographs, a slice is divided by its own colours: within one picture a lesion differs from what
surrounds it. The class activation, which is blurred and lights up in places only, is averaged over
these segments, and the picture's own threshold divides them into relevant ones and others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.clustering.kmeans import assign, fit_kmeans
from wsseg.utils.errors import InputError
from wsseg.utils.otsu import otsu
from wsseg.utils.smoothing import blur
from wsseg.utils.targets import IGNORE

# Numbers of segments, and clusterings with each; a pixel's relevance is the mean over all of them.
SEGMENT_COUNTS = (4, 8, 12)
SEGMENTATIONS = 2
SEGMENT_ITERATIONS = 20
FEWEST_SEGMENTED = 200  # of a slice: fewer are left as they are
SEGMENT_SAMPLE = 2_500  # that k-means sees of a slice
TEXTURE_BLUR = 1 / 64  # of the longer side of a slice: width of the Gaussian that removes texture
LARGEST_CUT = 2.0  # logit, since a lesion may fill the whole of a slice
LEAST_SPREAD = 1e-3  # of the logits of a slice: with less there is nothing to divide
LEAST_ACTIVATION = 1e-4  # no activation is taken for nearer to 0 or 1 than this


class Segments:
    """Makes the maps of slices from their own segments."""

    smoothing = 0.0
    needs_activation = True

    def relevance(self, slices: PixelEmbeddings) -> Tensor:
        """Return the relevance of all pixels; slices do not affect each other.

        Args:
            slices: A batch with activation and image.

        Returns:
            [B, C, h, w]: 0 in the whole slice for a class that it is not tagged with, else the
            relevance, 0 or 1, at valid pixels and ``IGNORE`` at the others.

        Raises:
            InputError: The embeddings have no image.
        """
        if slices.image is None or slices.activation is None:
            raise InputError(
                "clustering.within_slices: embed_pixels gives no image; add PixelEmbeddings(image=)"
            )
        valid = slices.valid.cpu()
        found = segment_relevance(slices.activation.float().cpu(), slices.image.cpu(), valid)
        # No pixel is left open: near the threshold that would spare only one of the two sides.
        found = (found > 0.5).float().masked_fill(~valid[:, None], IGNORE)
        return found.masked_fill((slices.tags.cpu() <= 0.5)[:, :, None, None], 0.0)


def segment_relevance(activation: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Average activations over the segments of their slices, and divide each slice in two.

    Args:
        activation: [S, C, H, W] in [0, 1].
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.

    Returns:
        [S, C, H, W] in [0, 1], 0 outside ``valid``: more than one half in the segments of a slice
        whose activation lies above the slice's own threshold (Otsu, 1979).

    Example:
        >>> image = torch.zeros(1, 1, 32, 32)
        >>> image[..., 8:24, 8:24] = 2.0  # a lesion, of which one side is activated
        >>> activation = torch.full((1, 1, 32, 32), 0.1)
        >>> activation[..., 8:24, 8:12] = 0.9
        >>> found = segment_relevance(activation, image, torch.ones(1, 32, 32, dtype=torch.bool))
        >>> int((activation > 0.5).sum()), int((found > 0.5).sum())
        (64, 256)
    """
    found = torch.zeros_like(activation)
    smooth = blur(image.float(), valid[:, None], TEXTURE_BLUR * max(image.shape[-2:]))
    for relevance, logit, pixels, inside in zip(
        found, torch.logit(activation.float(), LEAST_ACTIVATION), smooth, valid, strict=True
    ):
        if inside.sum() < FEWEST_SEGMENTED:
            continue
        mean = _averaged(logit[:, inside].T, _columns(pixels, inside))
        for channel, values in zip(relevance, mean.T, strict=True):
            channel[inside] = torch.sigmoid(values - _cut(values)).to(channel.dtype)
    return found


def _cut(logits: Tensor) -> float:
    """Return the threshold of a slice: its own, but what is clearly activated lies above it."""
    low, high = logits.aminmax()
    own = otsu(logits.numpy()) if high - low > LEAST_SPREAD else 0.0
    return min(own, LARGEST_CUT)


def _columns(pixels: Tensor, inside: Tensor) -> Tensor:
    """Return what clusters see of a slice's valid pixels: their colour and their place, [n, D]."""
    height, width = inside.shape
    colour = pixels[:, inside].T
    colour = (colour - colour.mean(dim=0)) / colour.std().clamp_min(1e-3)
    rows, columns = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return torch.cat((colour, rows[inside][:, None], columns[inside][:, None]), dim=1)


def _averaged(logits: Tensor, points: Tensor) -> Tensor:
    """Return the logits [n, C] of the pixels' segments, averaged over all segmentations."""
    total = torch.zeros_like(logits)
    sample = points[:: -(-len(points) // SEGMENT_SAMPLE)].contiguous()
    for count in SEGMENT_COUNTS:
        for seed in range(SEGMENTATIONS):
            centroids = fit_kmeans(sample, count, seed, SEGMENT_ITERATIONS)
            label = assign(points, centroids[None])[:, 0]
            sizes = torch.bincount(label, minlength=count).clamp_min(1)
            sums = torch.zeros(count, logits.shape[1]).index_add_(0, label, logits)
            total += (sums / sizes[:, None])[label]
    return total / (len(SEGMENT_COUNTS) * SEGMENTATIONS)
