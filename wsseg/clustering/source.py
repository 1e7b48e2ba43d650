"""Embeds the training slices with a Lightning module."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings, check_embeddings
from wsseg.clustering.slices import KnownSlices, TrainingSlices
from wsseg.utils.errors import InputError


class EmbeddingSource:
    """Embeds training slices with a Lightning module, at its device and precision."""

    def __init__(
        self,
        slices: TrainingSlices,
        trainer: Any,
        pl_module: Any,
        embed: Callable[[Any, Any], PixelEmbeddings] | None = None,
    ) -> None:
        """Set slices, trainer and module.

        Args:
            slices: The training slices.
            trainer: The Lightning trainer, for its device and precision.
            pl_module: The module.
            embed: ``embed(pl_module, batch)``, for modules without ``embed_pixels``.

        Raises:
            InputError: The module has no ``embed_pixels``, and ``embed`` is None.
        """
        if embed is None and not callable(getattr(pl_module, "embed_pixels", None)):
            raise InputError(
                f"{type(pl_module).__name__} has no embed_pixels(batch) -> PixelEmbeddings; add "
                "it, or give ClusterReSupervision(embed=...) a function (pl_module, batch)"
            )
        self._slices, self._trainer, self._module = slices, trainer, pl_module
        self._function = partial(embed, pl_module) if embed else pl_module.embed_pixels
        self._options = inspect.signature(self._function).parameters

    def __len__(self) -> int:
        """Return the number of items: slices, or batches if the data set serves batches."""
        return len(self._slices)

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
        needs = {"activation": activation, "features": features}
        options = {name: value for name, value in needs.items() if name in self._options}
        precision = self._trainer.precision_plugin
        for batch in self._slices.batches(positions):
            check_batch(batch)
            moved = self._module.transfer_batch_to_device(batch, self._module.device, 0)
            moved = precision.convert_input(moved)
            with torch.inference_mode(), precision.forward_context():
                embeddings = check_embeddings(self._function(moved, **options))
            yield embeddings


def check_batch(batch: Any) -> None:
    """Refuse a training batch that cluster maps cannot be added to.

    Args:
        batch: Batch of the training loader.

    Raises:
        InputError: It is not a dictionary, or has no ids of slices in ``index``.
    """
    if not isinstance(batch, dict):
        raise InputError(
            f"the training loader serves {type(batch).__name__}; serve a dictionary, to "
            "which cluster maps can be added"
        )
    index = batch.get("index")
    if index is None and any(isinstance(value, dict) for value in batch.values()):
        raise InputError(
            f"training batches hold batches ({', '.join(map(str, batch))}), as several loaders make"
            " them; give the trainer one training loader"
        )
    if not isinstance(index, Tensor):
        raise InputError(
            "training batches have no tensor `index`; add the ids [B] of their slices, from 0"
        )
    if index.ndim != 1 or index.is_floating_point():
        raise InputError(
            f"`index` of training batches is {tuple(index.shape)} of {index.dtype}; make it [B], "
            "whole numbers from 0"
        )
