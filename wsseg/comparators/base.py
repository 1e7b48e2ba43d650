"""What all comparators share: a teacher, a budget, and the contract that plain CAM has outside."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torchmetrics.classification import BinaryAccuracy

from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import CamNetwork
from wsseg.models.encoders import Encoder, build_encoder
from wsseg.models.schedules import annealed_adamw, follow


class Finding(NamedTuple):
    """What a trained comparator says about slices."""

    probability: Tensor
    """Of every class at every pixel, [B, C, H, W] in [0, 1]."""
    tags: Tensor
    """Probability of every tag, [B, C]."""


class Comparator(pl.LightningModule):
    """A method from the literature, within the framework and the budget of ``CamModule``.

    Encoder, augmentation, optimiser, schedule and mean teacher are those of ``CamModule``, and so
    are their defaults, so that a comparison compares methods. A subclass says what is trained
    (:meth:`losses`) and what is found (:meth:`find`), and if need be which network does it
    (:meth:`build_network`).
    """

    threshold: float = 0.5
    """A pixel is predicted where its probability exceeds this. Fixed in advance."""
    smallest_component: float = 0.1

    def __init__(
        self,
        spec: dict[str, Any],
        encoder: str = "unet",
        widths: Sequence[int] = (16, 32, 64, 96),
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        teacher_decay: float = 0.98,
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network and its teacher.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            encoder: Name of the encoder, a key of ``wsseg.models.ENCODERS``.
            widths: Channels of each level of a "unet" encoder, finest first.
            lr: Peak learning rate of AdamW, see ``one_cycle``.
            weight_decay: Weight decay of AdamW.
            teacher_decay: How much of the averaged weights every step keeps, see :func:`follow`;
                0 predicts with the weights of the last step.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            ValueError: The encoder is unknown.
        """
        super().__init__()
        self.save_hyperparameters(ignore=["augmentation"])
        # Tells `load_module` which class to make.
        self.hparams["_class_path"] = f"{type(self).__module__}.{type(self).__qualname__}"
        self.spec = DataSpec.from_dict(spec)
        self.network = self.build_network()
        self.teacher = AveragedModel(
            self.network, multi_avg_fn=partial(follow, decay=teacher_decay), use_buffers=True
        ).requires_grad_(False)
        self.to(memory_format=torch.channels_last)
        self.augmentation = augmentation or SliceAugmentation()
        self.tag_accuracy = BinaryAccuracy()  # over all tags of all slices

    @property
    def num_classes(self) -> int:
        """Number of tags C."""
        return len(self.spec.classes)

    def build_encoder(self, in_channels: int | None = None) -> Encoder:
        """Make an encoder as the settings say.

        Args:
            in_channels: Number of input channels; by default that of the modalities.
        """
        channels = in_channels or len(self.spec.modalities)
        return build_encoder(self.hparams["encoder"], channels, self.hparams["widths"])

    def build_network(self) -> nn.Module:
        """Make the network: by default that of plain CAM."""
        return CamNetwork(self.build_encoder(), self.num_classes)

    def losses(self, view: Batch) -> dict[str, Tensor]:
        """Return the weighted losses of an augmented batch, by name.

        Args:
            view: The batch.
        """
        raise NotImplementedError

    def find(self, network: nn.Module, image: Tensor, valid: Tensor) -> Finding:
        """Say what a network finds in slices.

        Args:
            network: What :meth:`build_network` made, or a copy of it.
            image: Normalised slices, [B, M, H, W].
            valid: Pixels that hold anatomy, [B, H, W] bool.
        """
        raise NotImplementedError

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the probability of every class at every pixel.

        Args:
            image: Normalised slices, [B, M, H, W].
            valid: Pixels that hold anatomy, [B, H, W] bool.

        Returns:
            [B, C, H, W] in [0, 1]; 0 outside anatomy.
        """
        return self.find(self.teacher.module, image, valid).probability * valid[:, None]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Add up the losses of one augmented batch."""
        losses = self.losses(self.augmentation(batch))
        total = torch.stack(list(losses.values())).sum()
        size = len(batch["index"])
        self.log("train/loss", total, prog_bar=True, batch_size=size)
        self.log_dict(
            {f"train/{name}": loss for name, loss in losses.items()},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=size,
        )
        return total

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Let the teacher follow."""
        self.teacher.update_parameters(self.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``probability`` [B, C, H, W] and log how well tags are predicted."""
        finding = self.find(self.teacher.module, batch["image"], batch["valid"])
        self.tag_accuracy(finding.tags, batch["tags"])
        self.log("val/tag_accuracy", self.tag_accuracy, batch_size=len(batch["index"]))
        return {"probability": finding.probability * batch["valid"][:, None]}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``probability`` [B, C, H, W]; ``CaseEvaluation`` scores it."""
        return {"probability": self(batch["image"], batch["valid"])}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, its learning rate warmed up and then annealed over the whole run."""
        return annealed_adamw(
            self.network.parameters(),
            self.hparams["lr"],
            self.hparams["weight_decay"],
            self.trainer.estimated_stepping_batches,
        )
