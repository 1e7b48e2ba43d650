"""How well predictions agree with the cluster maps: a score of a run that needs no mask."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor

from wsseg.clustering import ClusterReSupervision
from wsseg.clustering.callback import clusterings_of
from wsseg.clustering.source import embedder
from wsseg.data.datamodule import data_of
from wsseg.utils.distributed import current_collective
from wsseg.utils.targets import IGNORE, resize

AGREEMENT = "val/agreement"
"""The name of the score."""


class MapAgreement(pl.Callback):
    """Logs ``val/agreement``: the Dice of predictions with the cluster maps of validation slices.

    The clusters of the last refresh, which training slices have made, map the validation slices,
    too. Of slices without the tag the map is empty, so that false alarms count. The score is from
    0 to 1, the mean over the classes, and 0 while there are no clusters. No mask is read: runs may
    be selected by it.

    Runs without ``ClusterReSupervision``, with its adapter, or with regions within slices in place
    of clusters, have no such score. The steps must return ``{"probability": [B, C, H, W]}``; the
    module needs ``threshold``.
    """

    def __init__(self) -> None:
        """Start without slices."""
        super().__init__()
        self._rows: list[Tensor] = []

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Compare the predictions of a batch with its maps."""
        callback = clustering_of(trainer, pl_module)
        if callback is None or callback.clusters is None:
            return
        embed = embedder(pl_module, callback.embed)
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            embeddings = embed(batch, callback.clusters.needs_activation, True)
            relevance = callback.clusters.relevance(embeddings)
        probability = outputs["probability"]
        relevance = resize(relevance, *probability.shape[-2:]).to(probability.device)
        threshold = float(pl_module.threshold)  # type: ignore[arg-type]
        found = (probability > threshold) & (relevance > IGNORE)  # not where tags are unknown
        counts = overlaps(found, relevance > callback.scorer.high)
        self._rows.append(torch.cat((batch["index"][:, None].to(counts), counts), dim=1))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the score of all slices."""
        if clustering_of(trainer, pl_module) is None:
            return
        classes = len(data_of(trainer).spec.classes)
        none = torch.zeros(0, 1 + 2 * classes, dtype=torch.float64, device=pl_module.device)
        rows = current_collective(pl_module.device).gather(torch.cat([none, *self._rows]))
        self._rows = []
        # The same on every rank already, so there is nothing to reduce.
        pl_module.log(AGREEMENT, agreement(rows.cpu()), rank_zero_only=True)


def clustering_of(
    trainer: pl.Trainer, pl_module: pl.LightningModule
) -> ClusterReSupervision | None:
    """Return the callback of a training that has one whose clusters can map validation slices.

    Args:
        trainer: The trainer.
        pl_module: The module that is trained.
    """
    if trainer.sanity_checking or trainer.state.fn != "fit":
        return None
    suitable = (
        each
        for each in clusterings_of(trainer)
        if each.adapter is None and not each.divides_slices(pl_module)
    )
    return next(suitable, None)


def overlaps(prediction: Tensor, relevant: Tensor) -> Tensor:
    """Count pixels of each slice.

    Args:
        prediction: [B, C, H, W] bool.
        relevant: [B, C, H, W] bool.

    Returns:
        [B, 2C] float64: how many pixels are in both, of each class, and how many in each, added up.

    Example:
        >>> overlaps(torch.tensor([[[[True, True]]]]), torch.tensor([[[[True, False]]]]))
        tensor([[1., 3.]], dtype=torch.float64)
    """
    both = (prediction & relevant).flatten(2).sum(dim=2)
    either = prediction.flatten(2).sum(dim=2) + relevant.flatten(2).sum(dim=2)
    return torch.cat((both, either), dim=1).double()


def agreement(rows: Tensor) -> float:
    """Return the Dice of predictions and maps, the mean over the classes.

    Args:
        rows: [N, 1 + 2C], for each slice its id, and its :func:`overlaps`. A slice that several
            processes have seen counts once.

    Returns:
        From 0 to 1; 0 for a class that is neither predicted nor mapped.

    Example:
        >>> agreement(torch.tensor([[7.0, 1.0, 3.0], [7.0, 1.0, 3.0], [8.0, 2.0, 4.0]]))
        0.857...
    """
    first = np.unique(rows[:, 0].numpy(), return_index=True)[1]
    both, either = rows[torch.from_numpy(first), 1:].sum(dim=0).chunk(2)
    return float((2 * both / either.clamp_min(1)).mean())
