"""What the callback asks of a model: pixels as vectors, with the tags of their slices."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from wsseg.utils.errors import InputError

EXTRAS = ("asymmetry", "appearance")
OPTIONAL = ("activation", "case", "level", *EXTRAS)


class PixelEmbeddings(NamedTuple):
    """The pixels of a batch of slices, as a model sees them.

    All maps share one resolution [h, w], which need not be that of the image.

    Attributes:
        features: [B, D, h, w], of any floating type.
        activation: Class activation in [0, 1], [B, C, h, w]; None if it was not asked for.
        valid: Pixels to be clustered, [B, h, w] bool.
        tags: [B, C], 0 or 1.
        index: Stable ids of the slices, from 0, [B] int64.
        case: The patient of each, [B] int64. If None, every slice is a patient of its own.
        level: From 0 to 63, [B] int64, such as the level in the body: tagged slices are compared
            with untagged ones of the same. If None, all are of one.
        asymmetry: How the two sides of a symmetric organ differ, [B, A, h, w]; see
            :func:`~wsseg.clustering.symmetry.asymmetry`.
        appearance: What patients are compared by, [B, E, h, w], if they lie alike; see
            :func:`~wsseg.clustering.deviation.appearance`.
    """

    features: Tensor
    activation: Tensor | None
    valid: Tensor
    tags: Tensor
    index: Tensor  # type: ignore[assignment]  # tuples have a method of that name
    case: Tensor | None = None
    level: Tensor | None = None
    asymmetry: Tensor | None = None
    appearance: Tensor | None = None

    @property
    def cases(self) -> Tensor:
        """The patient of each slice, [B] int64."""
        return self.index if self.case is None else self.case

    @property
    def levels(self) -> Tensor:
        """The level of each slice, [B] int64."""
        return torch.zeros_like(self.index) if self.level is None else self.level

    @property
    def maps(self) -> tuple[Tensor | None, ...]:
        """What pixels are clustered by, in this order: features, asymmetry and appearance."""
        return self.features, self.asymmetry, self.appearance

    def of(self, rows: Tensor) -> PixelEmbeddings:
        """Return some of the slices.

        Args:
            rows: [B] bool.
        """
        if bool(rows.all()):
            return self
        parts = {name: part[rows] for name, part in self._asdict().items() if part is not None}
        return self._replace(**parts)


def feature_pixels(embeddings: PixelEmbeddings, place: Tensor) -> Tensor:
    """Return what pixels are clustered by.

    Args:
        embeddings: A batch.
        place: Slice, row and column of each pixel, [n, 3] int64.

    Returns:
        [n, D + A + E] float32: features, asymmetry, and appearance or deviation.
    """
    slice_, row, column = place.T
    height, width = embeddings.valid.shape[1:]
    number = (slice_ * height + row) * width + column
    maps = [each.permute(0, 2, 3, 1) for each in embeddings.maps if each is not None]
    parts = [each.reshape(-1, each.shape[3]).index_select(0, number).float() for each in maps]
    return torch.cat(parts, dim=1)


def check_embeddings(embeddings: object) -> PixelEmbeddings:
    """Return the embeddings, with ids as int64, if their shapes fit together.

    Args:
        embeddings: What ``embed_pixels`` returned.

    Raises:
        InputError: A field has another shape or type than :class:`PixelEmbeddings` says.
    """
    if not isinstance(embeddings, PixelEmbeddings):
        raise InputError(
            f"embed_pixels returned {type(embeddings).__name__}; return a PixelEmbeddings"
        )
    _check_tensors(embeddings)
    features, valid = embeddings.features, embeddings.valid
    if features.ndim != 4:
        raise InputError(
            f"embed_pixels: `features` is {tuple(features.shape)}; make it [B, D, h, w]"
        )
    batch, _, height, width = features.shape
    classes = embeddings.tags.shape[1]
    expected = {
        "activation": (batch, classes, height, width),
        "valid": (batch, height, width),
        "tags": (batch, classes),
        "index": (batch,),
        "case": (batch,),
        "level": (batch,),
    }
    for name in EXTRAS:
        maps = getattr(embeddings, name)
        if maps is not None:
            expected[name] = (batch, *maps.shape[1:2], height, width)
    for name, shape in expected.items():
        part = getattr(embeddings, name)
        got = shape if part is None else tuple(part.shape)
        if got != shape:
            raise InputError(f"embed_pixels: `{name}` is {got}; make it {shape}")
    if valid.dtype != torch.bool:
        raise InputError(f"embed_pixels: `valid` is {valid.dtype}; make it torch.bool")
    return _with_long_numbers(embeddings)


def _with_long_numbers(embeddings: PixelEmbeddings) -> PixelEmbeddings:
    """Return embeddings whose numbers are int64, as all processes must send them."""
    numbers = {name: getattr(embeddings, name) for name in ("index", "case", "level")}
    for name, each in numbers.items():
        if each is not None and each.is_floating_point():
            raise InputError(f"embed_pixels: `{name}` must hold integers")
    if len(embeddings.index) and int(embeddings.index.min()) < 0:
        raise InputError("embed_pixels: `index` must hold integers from 0")
    return embeddings._replace(
        **{name: each.long() for name, each in numbers.items() if each is not None}
    )


def _check_tensors(embeddings: PixelEmbeddings) -> None:
    """Refuse what has no shape to compare, and tags without classes."""
    for name, value in embeddings._asdict().items():
        if not isinstance(value, Tensor) and (value is not None or name not in OPTIONAL):
            raise InputError(
                f"embed_pixels: `{name}` is of type {type(value).__name__}; make it a tensor"
            )
    if embeddings.tags.ndim != 2:
        raise InputError(
            f"embed_pixels: `tags` is {tuple(embeddings.tags.shape)}; make it [B, C], a column for "
            "each class"
        )
