"""The LightningModule of the second stage."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.datamodule import data_of
from wsseg.data.spec import Batch
from wsseg.models.inclusion import containers, nest
from wsseg.models.network_input import batch_input
from wsseg.models.slice_module import SliceModule, SlicePrediction
from wsseg.segmentation.losses import corrected, noisy_mask_loss
from wsseg.segmentation.network import build_network
from wsseg.segmentation.source import TargetSource
from wsseg.utils.errors import InputError


class SegmentationModule(SliceModule):
    """A segmentation network for targets that are partly wrong.

    It learns from ``batch["target"]`` [B, C, H, W] in [0, 1], -1 to ignore; a ``TargetSource``
    gives batches their targets. In the later part of training the teacher corrects the targets
    where it is sure.
    """

    def __init__(
        self,
        spec: dict[str, Any],
        targets: TargetSource | None = None,
        widths: Sequence[int] = (16, 32, 64, 96, 128),
        symmetry: bool = True,
        robustness: float = 0.7,
        correction: float = 0.5,
        correct_from: float = 0.4,
        confidence: float = 0.8,
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        teacher_decay: float = 0.98,
        sharpening: float = 1.0,
        smallest_component: float = 0.1,
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            targets: Gives training batches their targets; needed for training only.
            widths: Channels of each level, finest first, 3 to 5 levels.
            symmetry: Let the network see how the two sides of a slice differ; for organs that are
                symmetric left to right. Does nothing in sagittal slices.
            robustness: 0 is cross-entropy, 1 absolute error; larger values give less weight to
                pixels whose target contradicts the rest of the data.
            correction: Weight of the teacher's prediction when it corrects a target; 0 for true
                masks.
            correct_from: Share of the training after which targets are corrected.
            confidence: Probability above which the teacher may correct a target.
            lr: Peak learning rate of AdamW (linear warm-up, then cosine decay to 0).
            weight_decay: Weight decay of AdamW.
            teacher_decay: Share of the averaged weights that every step keeps.
            sharpening: Strength of border refinement by each patient's own intensities; 0 leaves
                borders as predicted.
            smallest_component: Predicted components, connected in 3-D, below this share of the
                volume of the case's largest one are dropped; 0 keeps all, for diseases of many
                small lesions such as multiple sclerosis.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            ValueError: A value is out of range.
        """
        super().__init__(spec, smallest_component, augmentation, sharpening, symmetry)
        shares = {
            "robustness": robustness,
            "correction": correction,
            "correct_from": correct_from,
            "confidence": confidence,
        }
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise ValueError(f"--model.{name} {value:g}: must be from 0 to 1")
        self.targets = targets
        self.containers = containers(self.spec.classes)
        network = build_network(self.input_channels, self.num_classes, widths)
        self.adopt(network, teacher_decay)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Attach the source of targets to the trainer.

        Raises:
            InputError: It is to train, and the source or the trainer cannot be used.
        """
        callbacks = super().configure_callbacks()
        if self.targets is None:
            return callbacks
        if self.trainer.state.fn == "fit":
            self.targets.check(data_of(self.trainer))
        return [*callbacks, self.targets]

    def predict(self, image: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices with the teacher; no class is more probable than one that contains it."""
        opinion = self._opinion(self.input_of(image, valid), valid)
        found = nest(opinion, self.containers)
        return SlicePrediction(found, found.amax(dim=(2, 3)))  # a slice has a tag if it has a mask

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of one augmented batch.

        Raises:
            InputError: Nothing gave the batch its targets.
        """
        if "target" not in batch:
            raise InputError(
                "--model.targets: is missing; masks to learn from come from a first stage, give "
                "--model.targets.checkpoint RUN/last.ckpt"
            )
        view = self.augment(batch)
        target = self._correct(view)
        counted = (view["target"] >= 0) & view["valid"][:, None]
        seen = batch_input(view).contiguous(memory_format=torch.channels_last)
        logits = self.network(seen)
        loss = noisy_mask_loss(logits.float(), target, counted, self.hparams["robustness"])
        change = ((target - view["target"]).abs() * counted).sum() / counted.sum().clamp_min(1)
        size = len(batch["index"])
        self.log("train/loss", loss, prog_bar=True, batch_size=size)
        self.log(
            "train/corrected", change, on_step=False, on_epoch=True, sync_dist=True, batch_size=size
        )
        return loss

    def _opinion(self, seen: Tensor, valid: Tensor) -> Tensor:
        """Return the teacher's probabilities, [B, C, H, W]."""
        logits = self.teacher(seen.contiguous(memory_format=torch.channels_last))
        return torch.sigmoid(logits.float()) * valid[:, None]

    @torch.no_grad()
    def _correct(self, view: Batch) -> Tensor:
        """Return the targets of a view, corrected if it is time."""
        share: float = self.hparams["correction"]
        done = self.global_step / max(1.0, self.trainer.estimated_stepping_batches)
        if share == 0 or done < self.hparams["correct_from"]:
            return view["target"]
        opinion = self._opinion(batch_input(view), view["valid"])
        return corrected(view["target"], opinion, view["tags"], share, self.hparams["confidence"])
