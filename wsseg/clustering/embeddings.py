"""What the callback needs from a model: pixels as vectors, with the tags of their slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from wsseg.clustering.batch_reading import check_hard
from wsseg.utils.errors import InputError

OPTIONAL = ("activation", "case", "level", "image")


class PixelEmbeddings(NamedTuple):
    """Feature vectors of the pixels of a batch of slices, and what is known of the slices.

    All maps share one resolution [h, w], which need not be that of the model's input.

    Attributes:
        features: [B, D, h, w], of any floating type.
        activation: Class activation in [0, 1], [B, C, h, w]; None if ``embed_pixels`` was called
            with ``activation=False``.
        valid: Pixels to be clustered, [B, h, w] bool.
        tags: Tags of the slices, [B, C], 0, 1, or NaN where unknown.
        index: Stable ids of the slices, from 0, [B] int64.
        case: The case (one volume or image) that each slice belongs to, [B] int64. If None, every
            slice is a case of its own.
        level: Level of each slice in the body, from 0 to 63, [B] int64: tagged slices are compared
            with others of the same level. If None, all slices have one level.
        image: The image for views, [B, M, h, w]; None if no view needs it.

    Example:
        >>> slices = PixelEmbeddings(
        ...     features=torch.rand(2, 8, 16, 16),
        ...     activation=torch.rand(2, 1, 16, 16),
        ...     valid=torch.ones(2, 16, 16, dtype=torch.bool),
        ...     tags=torch.tensor([[1.0], [0.0]]),
        ...     index=torch.arange(2),
        ... )
        >>> slices.cases.tolist(), slices.levels.tolist()
        ([0, 1], [0, 0])
    """

    features: Tensor
    activation: Tensor | None
    valid: Tensor
    tags: Tensor
    index: Tensor  # type: ignore[assignment]  # tuples have a method of that name
    case: Tensor | None = None
    level: Tensor | None = None
    image: Tensor | None = None

    @property
    def cases(self) -> Tensor:
        """The case of each slice, [B] int64."""
        return self.index if self.case is None else self.case

    @property
    def levels(self) -> Tensor:
        """The level of each slice, [B] int64."""
        return torch.zeros_like(self.index) if self.level is None else self.level

    @property
    def tagged(self) -> Tensor:
        """Which slices have any tag, [B] bool."""
        return (self.tags > 0.5).any(dim=1)

    @property
    def untagged(self) -> Tensor:
        """Which slices are known to have no tag, [B] bool."""
        return (self.tags <= 0.5).all(dim=1)

    @property
    def plane(self) -> tuple[int, int, int]:
        """Shape of a slice's map: number of classes, height and width."""
        return (self.tags.shape[1], self.valid.shape[1], self.valid.shape[2])

    def select(self, rows: Tensor) -> PixelEmbeddings:
        """Return some of the slices.

        Args:
            rows: True for the slices to return, [B] bool.
        """
        if bool(rows.all()):
            return self
        parts = {name: part[rows] for name, part in self._asdict().items() if part is not None}
        return self._replace(**parts)

    def without_maps(self) -> PixelEmbeddings:
        """Return a copy without features, activation, valid and image, which take much memory."""
        empty = self.valid.new_empty(0)
        return self._replace(features=empty, activation=None, valid=empty, image=None)


def pixels_of(maps: Sequence[Tensor], place: Tensor) -> Tensor:
    """Return the values of maps at some pixels as vectors.

    Args:
        maps: Tensors [B, D, h, w]; their channels are concatenated.
        place: Slice, row and column of each pixel, [n, 3] int64.

    Returns:
        [n, sum of D] float32.
    """
    slice_, row, column = place.T
    height, width = maps[0].shape[2:]
    number = (slice_ * height + row) * width + column
    flat = (part.permute(0, 2, 3, 1).reshape(-1, part.shape[1]) for part in maps)
    return torch.cat([part.index_select(0, number).float() for part in flat], dim=1)


def check_embeddings(embeddings: object) -> PixelEmbeddings:
    """Check the shapes and types of embeddings, and return them with integers as int64.

    Args:
        embeddings: Return value of ``embed_pixels``.

    Raises:
        InputError: A field does not have the shape or type that :class:`PixelEmbeddings` names, or
            a tag is neither 0 nor 1 nor NaN.
    """
    if not isinstance(embeddings, PixelEmbeddings):
        raise InputError(
            f"embed_pixels returned {type(embeddings).__name__}; return a PixelEmbeddings"
        )
    _check_tensors(embeddings)
    features, valid, image = embeddings.features, embeddings.valid, embeddings.image
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
    if image is not None:
        expected["image"] = (batch, *image.shape[1:2], height, width)
    for name, shape in expected.items():
        part = getattr(embeddings, name)
        got = shape if part is None else tuple(part.shape)
        if got != shape:
            raise InputError(f"embed_pixels: `{name}` is {got}; make it {shape}")
    if valid.dtype != torch.bool:
        raise InputError(f"embed_pixels: `valid` is {valid.dtype}; make it torch.bool")
    check_hard(embeddings.tags)
    return _with_long_numbers(embeddings)


def _with_long_numbers(embeddings: PixelEmbeddings) -> PixelEmbeddings:
    """Return embeddings whose integers are int64: processes must send tensors of one type."""
    numbers = {name: getattr(embeddings, name) for name in ("index", "case", "level")}
    for name, value in numbers.items():
        if value is not None and value.is_floating_point():
            raise InputError(f"embed_pixels: `{name}` must hold integers")
    if len(embeddings.index) and int(embeddings.index.min()) < 0:
        raise InputError("embed_pixels: `index` must hold integers from 0")
    return embeddings._replace(
        **{name: value.long() for name, value in numbers.items() if value is not None}
    )


def _check_tensors(embeddings: PixelEmbeddings) -> None:
    """Refuse fields that are no tensors, and tags without a column for each class."""
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
