"""The callback that logs pictures of class activations and cluster maps during training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.data.store import SliceStore
from wsseg.tracking.images import add_image, write_figure
from wsseg.utils.isolation import evaluating
from wsseg.utils.sampling import evenly_spaced


class OverlayLogger(pl.Callback):
    """Logs pictures of the same few slices every few epochs.

    ``overlays/train`` shows tagged training slices: image, class activation, cluster map (if a
    callback of the trainer has a ``lookup(index)``) and prediction. ``overlays/val`` shows tagged
    validation slices with their true masks, if they have any. The pictures go to all loggers of
    the trainer and, if no file was written, to ``figures/`` in the trainer's root folder.

    The module needs ``forward(image, valid) -> [B, C, H, W]``; its ``spec`` (names of modalities
    and classes) and ``threshold`` are used if it has them.
    """

    def __init__(self, every_n_epochs: int = 5, n_slices: int = 4) -> None:
        """Set how often pictures are logged, and how large they are.

        Args:
            every_n_epochs: Epochs from one picture to the next; the first and the last epoch have
                one, too.
            n_slices: Slices per picture.
        """
        super().__init__()
        self.every_n_epochs = every_n_epochs
        self.n_slices = n_slices
        self._slices: dict[str, list[dict[str, Tensor]]] = {"train": [], "val": []}

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Keep tagged slices of the first training batches."""
        self._collect("train", batch, self.n_slices)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep tagged slices, evenly spread over the first validation pass."""
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        total = max(1, int(trainer.num_val_batches[0]))
        self._collect("val", batch, -(-self.n_slices * (batch_idx + 1) // total))

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the validation slices."""
        if not trainer.sanity_checking:
            self._log_picture("val", trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the training slices."""
        self._log_picture("train", trainer, pl_module)

    def _collect(self, split: str, batch: Any, wanted: int) -> None:
        keep_tagged(self._slices[split], batch, min(wanted, self.n_slices))

    def _log_picture(self, split: str, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not (trainer.is_global_zero and self._slices[split] and self._is_due(trainer)):
            return
        from wsseg.visualisation.slices import slice_sheet

        spec = getattr(pl_module, "spec", None)
        embeds = callable(getattr(pl_module, "embed_pixels", None))
        rows = self._rows(split, trainer, pl_module)
        modalities = range(len(rows[0].image)) if spec is None else spec.shown
        classes = range(len(rows[0].activation)) if spec is None else spec.classes
        picture = slice_sheet(
            rows,
            [str(name) for name in modalities],
            [str(name) for name in classes],
            title=f"{split}, epoch {trainer.current_epoch + 1}",
            threshold=getattr(pl_module, "threshold", 0.5),
            aspect=1.0 if spec is None or spec.pixel is None else spec.pixel[0] / spec.pixel[1],
            headings=("CAM", "cluster map") if embeds else ("probability", "target"),
        )
        self._publish(f"overlays/{split}", picture, trainer)

    def _is_due(self, trainer: pl.Trainer) -> bool:
        if getattr(trainer, "fast_dev_run", False) or trainer.state.fn != "fit":
            return False
        done = trainer.current_epoch + 1
        return done % self.every_n_epochs == 0 or done in (1, trainer.max_epochs)

    def _rows(
        self, split: str, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> Sequence[Any]:
        from wsseg.visualisation.slices import SliceRow

        slices = self._slices[split]
        image, valid = (torch.stack([kept[key] for kept in slices]) for key in ("image", "valid"))
        index = torch.stack([kept["index"] for kept in slices])
        targets = _lookup(trainer, index)
        with evaluating(pl_module), torch.no_grad(), trainer.precision_plugin.forward_context():
            activation = pl_module(image.to(pl_module.device), valid.to(pl_module.device))
        return [
            SliceRow(
                label=slice_name(trainer, int(kept["case"]), int(index[row])),
                image=image[row].float().numpy(),
                valid=valid[row].numpy(),
                activation=activation[row].float().cpu().numpy(),
                targets=targets[row],
                truth=kept["mask"].numpy() if "mask" in kept else None,
            )
            for row, kept in enumerate(slices)
        ]

    @staticmethod
    def _publish(name: str, picture: Any, trainer: pl.Trainer) -> None:
        step = trainer.global_step
        files = [add_image(logger, name, picture, step) for logger in trainer.loggers]
        if not any(files):
            write_figure(Path(trainer.default_root_dir), name, picture, step)


def keep_tagged(kept: list[dict[str, Tensor]], batch: Any, wanted: int) -> None:
    """Copy evenly spaced tagged slices of a batch, until so many are kept.

    Args:
        kept: The slices, to which more are added.
        batch: A batch of a slice store.
        wanted: How many.
    """
    missing = wanted - len(kept)
    if missing <= 0:
        return
    tagged = torch.nonzero((batch["tags"] > 0.5).any(dim=1)).flatten().tolist()
    for number in evenly_spaced(len(tagged), missing).tolist():
        row = tagged[number]
        kept.append({key: value[row].cpu().clone() for key, value in batch.items()})


def slice_name(trainer: pl.Trainer, position: int, index: int) -> str:
    """Return the label of a slice: its case and number in a slice store, or else its positions."""
    store = getattr(getattr(trainer, "datamodule", None), "store", None)
    if not isinstance(store, SliceStore):
        return f"case {position}\nslice {index}"
    case = [*store.cases.values()][position]
    return f"{case.id}\nslice {case.numbers[index - case.first_index]}"


def _lookup(trainer: pl.Trainer, index: Tensor) -> list[NDArray[np.float32] | None]:
    """Return the targets of slices from the first callback of the trainer that has them.

    They are None for slices without any known pixel, such as those that are not trained on.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        lookup = getattr(callback, "lookup", None)
        maps = lookup(index) if callable(lookup) else None
        if isinstance(maps, Tensor):
            return [plane.float().cpu().numpy() if (plane >= 0).any() else None for plane in maps]
    return [None] * len(index)
