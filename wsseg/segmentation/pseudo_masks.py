"""The callback that lets a trained first stage make the targets of the second."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from wsseg.checkpoints.checks import check_cases, check_data
from wsseg.checkpoints.loading import load_module, read_checkpoint
from wsseg.clustering.regions import region_relevance
from wsseg.data.datamodule import MRISliceDataModule, data_of
from wsseg.data.dataset import SliceDataset
from wsseg.data.store import CaseSlices
from wsseg.models.slice_module import SliceModule
from wsseg.prediction.border_refinement import REFINEMENT_REACH, refine_classes
from wsseg.prediction.inference import predict_slices
from wsseg.segmentation.case_maps import case_maps
from wsseg.segmentation.source import TargetSource
from wsseg.utils.distributed import Collective, current_collective
from wsseg.utils.errors import InputError
from wsseg.utils.isolation import untouched_generators
from wsseg.utils.map_file import MapFile
from wsseg.utils.map_keeper import MapKeeper
from wsseg.utils.targets import to_targets

COUNTS = ("pixels", "relevant", "ignored", "slices", "empty")


class PseudoMasks(TargetSource):
    """Targets from any checkpoint of wsseg.

    Each process predicts its share of the training cases when training starts; the masks lie on
    disk, a byte per pixel and class. A resumed run makes the same masks again, so checkpoints stay
    small.
    """

    def __init__(
        self,
        checkpoint: str = "",
        pixel_smoothing: float = 0.5,
        slice_smoothing: float = 0.5,
        refinement: float = 2.0,
        reach: int = REFINEMENT_REACH,
        low: float = 0.3,
        high: float = 0.5,
        mirror: bool = True,
        batch_size: int = 32,
    ) -> None:
        """Set how masks are made.

        Args:
            checkpoint: The trained first stage (``RUN/last.ckpt``); needed for training only.
            pixel_smoothing: Width in pixels of the Gaussian that smooths within a slice.
            slice_smoothing: Width in slices of the Gaussian that smooths across slices.
            refinement: Strength of border refinement by each patient's own intensities; 0 leaves
                borders as predicted.
            reach: How far refinement may move a border, in pixels.
            low: Pixels whose probability is at most this are targets of 0.
            high: Pixels whose probability exceeds this are targets of 1; what lies between is
                ignored, as is a tagged slice in which no pixel exceeds it.
            mirror: Average the predictions of each slice and of its mirror image along the width;
                set it to False for sagittal slices, as ``flip`` of ``SliceAugmentation`` to 0.
            batch_size: Slices per forward pass.

        Raises:
            InputError: A value is out of range.
        """
        super().__init__()
        if not 0 <= low <= high < 1:
            raise InputError("--model.targets: low and high must satisfy 0 <= low <= high < 1")
        widths = (pixel_smoothing, slice_smoothing, refinement, reach)
        if not all(width >= 0 for width in widths):  # also for NaN
            raise InputError("--model.targets: smoothing, refinement and reach must be at least 0")
        self.checkpoint = checkpoint
        self.pixel_smoothing = pixel_smoothing
        self.slice_smoothing = slice_smoothing
        self.refinement = refinement
        self.reach = reach
        self.low = low
        self.high = high
        self.mirror = mirror
        self.batch_size = batch_size
        self._digest = ""
        self._maps = MapKeeper()
        self._counts = torch.zeros(len(COUNTS), dtype=torch.float64)

    def check(self, data: MRISliceDataModule) -> None:
        """Load the first stage and compare its data with that of this run.

        Raises:
            InputError: The checkpoint is missing or not valid, belongs to other data, or was
                trained on cases that are held out here.
        """
        self._load(data)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Make the masks of all training cases, each process those of some."""
        data = data_of(trainer)
        cases = data.splits["train"]
        collective = current_collective(trainer.strategy.root_device)
        folder = self._maps.open(trainer, collective)
        count = max(case.first_index + len(case.tags) for case in cases)
        file = MapFile(folder.path, (count, len(data.spec.classes), *data.spec.size), version=0)
        with collective.together("making the file of targets"):
            if folder.owned:
                file.create()
        self._counts.zero_()
        with collective.together("making targets"):
            self._compare_digest()
            first = self._load(data).to(pl_module.device)
            with trainer.precision_plugin.forward_context():
                for case in cases[folder.rank :: folder.size]:
                    file.write(case.indices, self._opinion(first, data, case))
        self._maps.keep(file)
        self._report(pl_module, collective)

    def lookup(self, index: Tensor) -> Tensor | None:
        """Return 0 and 1 where the first stage is sure; see :meth:`TargetSource.lookup`."""
        file = self._maps.file
        return None if file is None else self._targets(file.lookup_known(index))

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Delete the folder of maps."""
        self._close()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Delete the folder of maps."""
        if self._maps.folder is not None:
            trainer.strategy.barrier()  # other processes may still read the maps
        self._close()

    def state_dict(self) -> dict[str, Any]:
        """Return which checkpoint the masks come from, by its hash."""
        return {"sha256": self._digest}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Remember which checkpoint the masks came from."""
        self._digest = state_dict["sha256"]

    def _opinion(self, first: SliceModule, data: MRISliceDataModule, case: CaseSlices) -> Tensor:
        """Return the first stage's opinion of a case, [S, C, H, W] in [0, 1], -1 where unknown."""
        batch = SliceDataset(data.store, [case]).__getitems__(range(len(case.tags)))
        probability = self._predict(first, batch["image"], batch["valid"])
        refined = self.refinement > 0 and data.spec.cell is None  # cells have no finer borders
        if refined and data.spec.of_pictures:
            drawn = region_relevance(probability, batch["image"], batch["valid"])
            probability = (drawn > 0.5).float()  # each side counts alike
        elif refined:
            probability = refine_classes(
                probability * ~(case.tags <= 0.5)[:, :, None, None],
                batch["image"],
                batch["valid"],
                data.spec.classes,
                threshold=self.high,
                reach=self.reach,
                weight=self.refinement,
                smallest=first.finishing.smallest_component,
            )
        found = case_maps(
            probability,
            batch["valid"],
            case.tags,
            pixels=self.pixel_smoothing,
            slices=self.slice_smoothing,
            high=self.high,
        )
        self._counts += count_targets(self._targets(found), batch["valid"], case.tags)
        return found

    def _report(self, pl_module: pl.LightningModule, collective: Collective) -> None:
        """Log what tagged slices got from the first stage: shares of their pixels, and of them."""
        pixels, relevant, ignored, slices, empty = collective.sum(self._counts).tolist()
        if slices and not relevant:
            rank_zero_warn(
                f"{self.checkpoint}: finds nothing in any tagged slice, so there is nothing to "
                "learn; train it longer"
            )
        report = {
            "pseudo_masks/relevant": relevant / max(1, pixels),
            "pseudo_masks/ignored": ignored / max(1, pixels),
            "pseudo_masks/empty_slices": empty / max(1, slices),
        }
        pl_module.log_dict(report, batch_size=1, sync_dist=collective.size > 1)

    def _targets(self, maps: Tensor) -> Tensor:
        return to_targets(maps, self.low, self.high)

    def _close(self) -> None:
        self._maps.forget()  # a resumed run makes the same masks again
        self._maps.close()

    def _predict(self, first: SliceModule, image: Tensor, valid: Tensor) -> Tensor:
        probability = predict_slices(first, image, valid, self.batch_size)
        if not self.mirror:
            return probability
        mirrored = predict_slices(first, image.flip(-1), valid.flip(-1), self.batch_size)
        return (probability + mirrored.flip(-1)) / 2

    def _load(self, data: MRISliceDataModule) -> SliceModule:
        if not self.checkpoint:
            raise InputError(
                "--model.targets.checkpoint: is missing; give the checkpoint of the first stage, "
                "RUN/last.ckpt"
            )
        try:
            with untouched_generators():
                first = load_module(Path(self.checkpoint))
        except InputError as error:
            raise InputError(f"--model.targets.checkpoint {error}") from None
        check_data(self.checkpoint, first.spec.to_dict(), data.spec.to_dict())
        content = read_checkpoint(Path(self.checkpoint))
        check_cases(self.checkpoint, content, data)
        data.learns_from(content)
        return first

    def _compare_digest(self) -> None:
        """Warn if a resumed run finds another checkpoint than it began with."""
        with Path(self.checkpoint).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if self._digest not in ("", digest):
            rank_zero_warn(
                f"{self.checkpoint}: is not the checkpoint that this run began with, so the masks "
                "to learn from differ; give the original one with --model.targets.checkpoint, or "
                "start a new run"
            )
        self._digest = digest


def count_targets(target: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
    """Count what the tagged slices of a case got; a slice counts once per class it is tagged with.

    Args:
        target: [S, C, H, W] in [0, 1], -1 to ignore.
        valid: [S, H, W] bool.
        tags: [S, C], 0 or 1.

    Returns:
        [5] float64, the ``COUNTS``: pixels of tagged slices, those of them that are relevant, those
        that are ignored, the tagged slices, those of them that are ignored altogether.
    """
    tagged = tags > 0.5
    inside = valid[:, None] & tagged[:, :, None, None]
    empty = tagged & (target < 0).all(dim=3).all(dim=2)
    parts = (inside, inside & (target > 0.5), inside & (target < 0), tagged, empty)
    return torch.stack([part.sum() for part in parts]).double()
