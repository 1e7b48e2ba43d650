"""The callback that logs a table of the clusters after each refresh."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from wsseg.clustering import ClusterReSupervision, ClusterTable
from wsseg.clustering.callback import clusterings_of
from wsseg.clustering.table import ClusterRow
from wsseg.tracking.overlays import keep_tagged
from wsseg.utils.isolation import evaluating
from wsseg.visualisation.cluster_pictures import DECISION_COLOURS, ClusteredSlices


class ClusterTables(pl.Callback):
    """Logs the table of clusters to the loggers that can show one, such as wandb's.

    The table ``clusters/table`` has a row for each class and cluster: what was measured of it, what
    was decided, and a picture of the most relevant ones, in which their pixels are marked.
    """

    def __init__(self, n_slices: int = 16, n_pictures: int = 24) -> None:
        """Set how much is shown.

        Args:
            n_slices: Tagged training slices from which pictures are drawn.
            n_pictures: Most clusters of each class that have a picture.
        """
        super().__init__()
        self.n_slices = n_slices
        self.n_pictures = n_pictures
        self._slices: list[dict[str, Tensor]] = []
        self._logged: ClusterTable | None = None

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep tagged slices of the first training batches."""
        if _loggers(trainer):
            keep_tagged(self._slices, batch, self.n_slices)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any
    ) -> None:
        """Log the table of a refresh that came before the first batch."""
        self._log_table(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the table of a refresh that came after the last batch."""
        self._log_table(trainer, pl_module)

    def _log_table(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        callback = next((c for c in clusterings_of(trainer) if c.table is not None), None)
        if callback is None or callback.table is self._logged:
            return
        loggers, self._logged = _loggers(trainer), callback.table
        if not (loggers and trainer.is_global_zero and callback.table is not None):
            return
        spec, table = getattr(pl_module, "spec", None), callback.table
        classes = range(table.relevance.shape[2]) if spec is None else spec.classes
        rows = table.rows([str(name) for name in classes])
        pictures = self._pictures(rows, self._clustered(trainer, pl_module, callback))
        names = ["class" if name == "class_name" else name for name in ClusterRow._fields]
        data = [[*row, pictures.get(row)] for row in rows]
        for logger in loggers:
            logger.log_table("clusters/table", [*names, "picture"], data, step=trainer.global_step)

    def _pictures(
        self, rows: list[ClusterRow], slices: ClusteredSlices | None
    ) -> dict[ClusterRow, Any]:
        """Draw the most relevant clusters, for the tables of wandb."""
        from wandb import Image

        found: dict[ClusterRow, Any] = {}
        if slices is None:
            return found
        for row in most_relevant(rows, self.n_pictures):
            colour = DECISION_COLOURS[row.decision]
            drawn = slices.pictures(row.clustering, row.cluster, count=1, colour=colour)
            if drawn:
                found[row] = Image(drawn[0])
        return found

    def _clustered(
        self, trainer: pl.Trainer, module: Any, callback: ClusterReSupervision
    ) -> ClusteredSlices | None:
        """Find the clusters of the kept slices; None if the module cannot embed them."""
        embed, clusters = getattr(module, "embed_pixels", None), callback.clusters
        if not (callable(embed) and self._slices and clusters is not None):
            return None
        keys = self._slices[0].keys()
        batch = {key: torch.stack([kept[key] for kept in self._slices]) for key in keys}
        moved = {key: value.to(module.device) for key, value in batch.items()}
        with evaluating(module), torch.no_grad(), trainer.precision_plugin.forward_context():
            labels = clusters.label_maps(embed(moved))
        image = batch["image"].float().numpy()
        return ClusteredSlices(image, batch["valid"].numpy(), labels.cpu().numpy())


def most_relevant(rows: list[ClusterRow], count: int) -> list[ClusterRow]:
    """Return the most relevant rows of each class, the most relevant first.

    Args:
        rows: Of :meth:`ClusterTable.rows`.
        count: How many of each class.
    """
    chosen = []
    for name in dict.fromkeys(row.class_name for row in rows):
        of_class = [row for row in rows if row.class_name == name]
        chosen += sorted(of_class, key=lambda row: -row.relevance)[:count]
    return chosen


def _loggers(trainer: pl.Trainer) -> list[Any]:
    return [one for one in trainer.loggers if callable(getattr(one, "log_table", None))]
