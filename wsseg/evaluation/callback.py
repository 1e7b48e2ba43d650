"""The callback that scores whole cases in validation and test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn

from wsseg.data.datamodule import data_of
from wsseg.data.masked import cases_with_masks
from wsseg.data.store import SliceStore
from wsseg.evaluation.case_metric import CaseRow, CaseSegmentationMetric, Refine
from wsseg.evaluation.pixel_precision import PixelAveragePrecision
from wsseg.evaluation.results import drawn_dice, never_predicted, write_results
from wsseg.prediction.components import Mask
from wsseg.prediction.finishing import follows_regions, refine, refine_pictures


class CaseEvaluation(pl.Callback):
    """Scores whole cases at the module's fixed threshold, without small components.

    ``test`` writes ``metrics.json`` and ``per_case.csv`` into the trainer's root folder, unless the
    trainer runs a part of the slices only, and logs ``test/dice_<class>``, the mean over the cases
    in which the class is drawn (nothing if it is in none of them). Of pictures, ``metrics.json``
    also has PxAP. It warns of a class that was predicted in none of those cases. Validation only
    logs ``val/dice_<class>``, where the store has masks: a curve to look at, of borders as the
    network draws them, since refining takes too long for every epoch. It reads masks, so select
    nothing by it.

    The steps must return ``{"probability": [B, C, H, W]}``; the module needs ``threshold``
    and ``finishing``, the data module ``store`` and ``splits``.
    """

    def __init__(self) -> None:
        """Start without scores."""
        super().__init__()
        self._metric: CaseSegmentationMetric | None = None
        self._precision: PixelAveragePrecision | None = None

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Forget what an interrupted pass may have left."""
        self._metric = None

    def on_validation_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch, if it has masks."""
        if "mask" in batch and not trainer.sanity_checking:
            self._update(trainer, pl_module, outputs, batch, whole=False)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the mean Dice over the cases in which a class is drawn."""
        self._finish(pl_module, "val")

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse a test in which no case can be scored.

        Raises:
            InputError: No test case has a mask.
        """
        self._metric = None
        data = data_of(trainer)
        cases_with_masks(data.store, data.splits["test"], data.fold)
        spec = data.store.spec
        precision = PixelAveragePrecision(len(spec.classes)) if spec.of_pictures else None
        self._precision = None if precision is None else precision.to(pl_module.device)

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Add a batch."""
        self._update(trainer, pl_module, outputs, batch, whole=True)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log the mean Dice, write the result files and warn of classes never predicted."""
        rows = self._finish(pl_module, "test")
        pxap = None if self._precision is None else self._precision.compute()
        if is_limited(trainer.limit_test_batches):
            rank_zero_warn(
                "not all test slices were run, so metrics.json and per_case.csv are not written; "
                "remove --trainer.limit_test_batches"
            )
        elif rows and trainer.is_global_zero:
            unit = data_of(trainer).store.spec.plan.unit
            write_results(rows, Path(trainer.default_root_dir), unit, pxap)
            for sentence in never_predicted(rows):
                rank_zero_warn(sentence)

    def _update(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        whole: bool,
    ) -> None:
        """Add a batch; with ``whole``, also refine borders and measure distances, which is slow."""
        if self._metric is None:
            store = data_of(trainer).store
            finishing: Any = pl_module.finishing
            metric = CaseSegmentationMetric(
                store.cases.values(),
                store.spec.classes,
                smallest_component=finishing.smallest_component,
                refine=refinement(pl_module, store) if whole else None,
                distances=whole,
            )
            self._metric = metric.to(pl_module.device)
        module: Any = pl_module
        said = probability = outputs["probability"]
        if whole and follows_regions(module):
            probability = refine_pictures(
                module, probability.float().cpu(), batch["image"].cpu(), batch["valid"].cpu()
            )
        if whole and self._precision is not None:
            truth, valid = batch["mask"].to(probability.device), batch["valid"]
            self._precision.update(probability, truth, valid.to(truth.device), batch["index"])
        prediction = probability > float(module.threshold)
        kept = said if whole else None
        self._metric.update(prediction, batch["mask"], batch["index"], batch["case"], kept)

    def _finish(self, pl_module: pl.LightningModule, stage: str) -> list[CaseRow]:
        """Return the rows of all ranks, log their mean Dice and forget them."""
        metric, self._metric = self._metric, None
        if metric is None:
            return []
        rows: list[CaseRow] = metric.compute()
        for name in metric.classes:
            dice = drawn_dice(rows, name)
            if dice is not None:
                # The same on every rank already, so there is nothing to reduce.
                pl_module.log(f"{stage}/dice_{name}", dice, rank_zero_only=True)
        return rows


def refinement(module: Any, store: SliceStore) -> Refine | None:
    """Return what refines the masks of a whole case as the module is set to; None if nothing does.

    Args:
        module: A ``SliceModule``.
        store: The slice store, whose images are read again.
    """
    if not module.finishing.refinement or follows_regions(module):
        return None

    def of_case(case: str, rows: np.ndarray, masks: Mask) -> Mask:
        here = (torch.from_numpy(folder[case][rows]) for folder in (store.images, store.valid))
        return np.asarray(refine(module, torch.from_numpy(masks), *here) > 0.5)

    return of_case


def is_limited(batches: float) -> bool:
    """Tell whether ``limit_test_batches`` of a trainer, a share or a number, leaves any out."""
    return isinstance(batches, int) or batches < 1  # a dry run is a limit of 1 batch
