"""What the callback asks of a model: pixels as vectors, with the tags of their slices."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.errors import ClusteringError


class PixelEmbeddings(NamedTuple):
    """The pixels of a batch of slices, as a model sees them.

    All maps share one resolution [h, w], which need not be that of the image.
    """

    features: Tensor  # [B, D, h, w], any floating type
    activation: Tensor  # [B, C, h, w] class activation in [0, 1]
    valid: Tensor  # [B, h, w] bool, pixels to be clustered
    tags: Tensor  # [B, C], 0 or 1
    index: Tensor  # type: ignore[assignment]  # [B] int64, stable id of the slice, from 0
    group: Tensor  # [B] int64, the patient: many that agree are evidence, one alone is not
    stratum: Tensor  # [B] int64, e.g. the level in the body; slices are compared within it
    asymmetry: Tensor | None = None  # [B, E, h, w], for symmetric organs: see symmetry.asymmetry


class ValidPixels(NamedTuple):
    """The valid pixels of a batch, one after the other."""

    features: Tensor  # [n, D + E] float32, with the asymmetry behind
    activation: Tensor  # [n, C] float32
    row: Tensor  # [n] int64, which slice of the batch a pixel belongs to
    place: Tensor  # [n, 2] int64, its row and column in the slice


def valid_pixels(embeddings: PixelEmbeddings) -> ValidPixels:
    """List the valid pixels of a batch, slice by slice in raster order.

    Args:
        embeddings: The batch.

    Returns:
        Features, activation and place of each valid pixel.
    """
    valid = embeddings.valid
    place = valid.nonzero()
    features = embeddings.features.float()
    if embeddings.asymmetry is not None:
        features = torch.cat((features, embeddings.asymmetry.float()), dim=1)
    return ValidPixels(
        features=features.permute(0, 2, 3, 1)[valid],
        activation=embeddings.activation.permute(0, 2, 3, 1)[valid].float(),
        row=place[:, 0],
        place=place[:, 1:],
    )


def check_embeddings(embeddings: object) -> PixelEmbeddings:
    """Return the embeddings if their shapes fit together.

    Args:
        embeddings: What ``embed_pixels`` returned.

    Raises:
        ClusteringError: A field has another shape or type than :class:`PixelEmbeddings` says.
    """
    if not isinstance(embeddings, PixelEmbeddings):
        raise ClusteringError(
            f"embed_pixels returned {type(embeddings).__name__}; return a PixelEmbeddings"
        )
    features, valid, index = embeddings.features, embeddings.valid, embeddings.index
    if features.ndim != 4:
        raise ClusteringError(
            f"embed_pixels: `features` is {tuple(features.shape)}; make it [B, D, h, w]"
        )
    batch, _, height, width = features.shape
    classes = embeddings.tags.shape[-1]
    expected = {
        "activation": (batch, classes, height, width),
        "valid": (batch, height, width),
        "tags": (batch, classes),
        "index": (batch,),
        "group": (batch,),
        "stratum": (batch,),
    }
    if embeddings.asymmetry is not None:
        expected["asymmetry"] = (batch, embeddings.asymmetry.shape[1], height, width)
    for name, shape in expected.items():
        got = tuple(getattr(embeddings, name).shape)
        if got != shape:
            raise ClusteringError(f"embed_pixels: `{name}` is {got}; make it {shape}")
    if valid.dtype != torch.bool:
        raise ClusteringError(f"embed_pixels: `valid` is {valid.dtype}; make it torch.bool")
    if index.is_floating_point() or (batch and int(index.min()) < 0):
        raise ClusteringError("embed_pixels: `index` must hold integers from 0")
    return embeddings
