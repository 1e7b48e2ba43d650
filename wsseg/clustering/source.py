"""Embeds the training slices with a Lightning module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wsseg.clustering.adapter import ClassifierAdapter
from wsseg.clustering.embeddings import PixelEmbeddings, check_embeddings
from wsseg.clustering.slices import KnownSlices, TrainingSlices
from wsseg.utils.errors import InputError

MENDED_MODULE = """
    def embed_pixels(self, batch):
        features, cam, valid = ...  # [B, D, h, w]; [B, C, h, w] from 0 to 1; [B, h, w] bool
        return PixelEmbeddings(features, cam, valid, batch["tags"], batch["index"])"""
MENDED_DATA = """
    def __getitem__(self, i):
        image, tags = self.data[i]
        return {"image": image, "tags": tags, "index": i}"""


class EmbeddingSource:
    """Embeds training slices with a Lightning module, at its device and precision."""

    def __init__(
        self,
        slices: TrainingSlices,
        trainer: Any,
        pl_module: Any,
        embed: Callable[[Any, Any], PixelEmbeddings] | None = None,
        adapter: ClassifierAdapter | None = None,
    ) -> None:
        """Set slices, trainer and module.

        Args:
            slices: The training slices.
            trainer: The Lightning trainer, for its device and precision.
            pl_module: The module.
            embed: ``embed(pl_module, batch)``, for modules without ``embed_pixels``.
            adapter: Embeds batches of any kind; ids of slices are then their positions.

        Raises:
            InputError: The module has no ``embed_pixels``, and there is no other way to embed.
        """
        self._slices, self._trainer, self._module = slices, trainer, pl_module
        self._adapted = adapter is not None
        self._embed = embedder(pl_module, embed if adapter is None else adapter.embed)

    def __len__(self) -> int:
        """Return the number of items: slices, or batches if the data set serves batches."""
        return len(self._slices)

    @property
    def per_item(self) -> int:
        """Most slices of an item."""
        return self._slices.per_item

    @property
    def known(self) -> KnownSlices | None:
        """What the data set says of the slices in advance."""
        return self._slices.known

    def embed(
        self, positions: Sequence[int], activation: bool = True, features: bool = True
    ) -> Iterator[PixelEmbeddings]:
        """Embed the slices at these positions, in batches.

        Args:
            positions: Positions among the training slices.
            activation: Whether the class activation is needed.
            features: Whether the features are needed.

        Raises:
            InputError: A batch or its embeddings cannot be used.
        """
        precision = self._trainer.precision_plugin
        done = 0
        for batch in self.batches(positions):
            with torch.inference_mode(), precision.forward_context():
                embeddings = check_embeddings(self._embed(batch, activation, features))
            if self._adapted:
                embeddings = self._numbered(embeddings, positions[done:])
                done += 1 if self._slices.streamed else len(embeddings.index)
            yield embeddings

    def batches(self, positions: Sequence[int]) -> Iterator[Any]:
        """Load the slices at these positions, in batches on the device of the module.

        Args:
            positions: Positions among the training slices.

        Raises:
            InputError: A batch cannot be used.
        """
        for batch in self._slices.batches(positions):
            if not self._adapted:
                check_batch(batch)
            moved = self._module.transfer_batch_to_device(batch, self._module.device, 0)
            yield self._trainer.precision_plugin.convert_input(moved)

    def _numbered(self, embeddings: PixelEmbeddings, positions: Sequence[int]) -> PixelEmbeddings:
        """Return embeddings with ids made of the positions of their slices."""
        count, device = len(embeddings.index), embeddings.index.device
        if self._slices.streamed:
            first = positions[0] * self.per_item
            return embeddings._replace(index=torch.arange(first, first + count, device=device))
        if count > len(positions):
            raise InputError(
                "ClassifierAdapter: the data set serves batches of slices; let it serve single "
                "slices and the DataLoader batch them"
            )
        return embeddings._replace(index=torch.tensor(positions[:count], device=device))


def embedder(
    pl_module: Any, embed: Callable[[Any, Any], PixelEmbeddings] | None = None
) -> Callable[[Any, bool, bool], PixelEmbeddings]:
    """Return what embeds a batch, and computes no more than is needed if the module can do less.

    Args:
        pl_module: The module.
        embed: ``embed(pl_module, batch)``, for modules without ``embed_pixels``.

    Returns:
        A function of a batch, whether the class activation is needed, and whether the features are.

    Raises:
        InputError: The module has no ``embed_pixels``, and there is no other way to embed.
    """
    if embed is None and not callable(getattr(pl_module, "embed_pixels", None)):
        raise InputError(
            f"{type(pl_module).__name__} has no embed_pixels(batch); if it is a classifier of "
            "images, leave it as it is, and give the callback adapter=ClassifierAdapter(); if "
            f"not, add these lines to it:{MENDED_MODULE}"
        )
    function = partial(embed, pl_module) if embed else pl_module.embed_pixels
    known = inspect.signature(function).parameters

    def embed_batch(batch: Any, activation: bool, features: bool) -> PixelEmbeddings:
        needs = {"activation": activation, "features": features}
        found: PixelEmbeddings = function(
            batch, **{name: value for name, value in needs.items() if name in known}
        )
        return found

    return embed_batch


def check_batch(batch: Any) -> None:
    """Refuse a training batch that cluster maps cannot be added to.

    Args:
        batch: Batch of the training loader.

    Raises:
        InputError: It is not a dictionary, or has no ids of slices in ``index``.
    """
    if not isinstance(batch, dict):
        raise InputError(
            f"the training loader serves {type(batch).__name__}; serve a dictionary, to which "
            "cluster maps can be added; if the module is a classifier of images, give the callback "
            f"adapter=ClassifierAdapter(); if not, let the data set say:{MENDED_DATA}"
        )
    index = batch.get("index")
    if index is None and any(isinstance(value, dict) for value in batch.values()):
        raise InputError(
            f"training batches hold batches ({', '.join(map(str, batch))}), as several loaders make"
            " them; give the trainer one training loader"
        )
    if not isinstance(index, Tensor):
        raise InputError(
            "training batches have no tensor `index`; add the ids [B] of their slices, from 0; if "
            "the module is a classifier of images, give the callback adapter=ClassifierAdapter(), "
            f"which needs none; if not, let the data set say:{MENDED_DATA}"
        )
    if index.ndim != 1 or index.is_floating_point():
        raise InputError(
            f"`index` of training batches is {tuple(index.shape)} of {index.dtype}; make it [B], "
            "whole numbers from 0"
        )
