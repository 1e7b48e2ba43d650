"""The module of the second stage: a segmentation network trained on pseudo-masks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.datamodule import data_of
from wsseg.data.spec import Batch, DataSpec, containers, nest
from wsseg.models.encoders import build_encoder, usual_encoder
from wsseg.models.network_input import input_channels
from wsseg.models.options import Finishing, Optimisation
from wsseg.models.slice_module import SliceModule, SlicePrediction
from wsseg.segmentation.losses import corrected, noisy_mask_loss
from wsseg.segmentation.network import DecoderNetwork, build_network
from wsseg.segmentation.source import TargetSource
from wsseg.utils.errors import InputError
from wsseg.utils.targets import with_corrected

CONFIDENCE = 0.8  # probability above which the teacher may correct a target


class SegmentationModule(SliceModule):
    """A segmentation network for targets that are partly wrong.

    It learns from ``batch["target"]`` [B, C, H, W] in [0, 1], -1 to ignore; a ``TargetSource``
    gives batches their targets. In the later part of training the teacher corrects the targets
    where it is sure. Where a person has
    drawn ``batch["corrected"]`` it is the target, which nothing corrects or doubts.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = SegmentationModule(spec.to_dict(), widths=(4, 8, 8))
        >>> image, valid = torch.randn(2, 2, 32, 32), torch.ones(2, 32, 32, dtype=torch.bool)
        >>> module(image, valid).shape  # the probability of each class at each pixel
        torch.Size([2, 1, 32, 32])
    """

    takes_unknown_tags = True
    takes_corrections = True

    def __init__(
        self,
        spec: dict[str, Any],
        targets: TargetSource | None = None,
        encoder: str | None = None,
        widths: Sequence[int] = (16, 32, 64, 96, 128),
        symmetry: bool | None = None,
        robustness: float = 0.7,
        correction: float = 0.5,
        correct_from: float = 0.4,
        optimisation: Optimisation = Optimisation(),
        finishing: Finishing = Finishing(),
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            targets: Gives training batches their targets; needed for training only.
            encoder: Name of an encoder on which a decoder is put, a key of
                ``wsseg.models.ENCODERS``. By default "pretrained" for pictures, whose features are
                fixed; for other images there is none, but MONAI's version of nnU-Net's network.
            widths: Channels of each level of that network or of a "unet" encoder, finest first.
            symmetry: Let the network see how the two sides of a slice differ, as suits organs that
                are symmetric left to right; does nothing in sagittal slices. By default as the plan
                of the data says.
            robustness: 0 is cross-entropy, 1 absolute error; larger values give less weight to
                pixels whose target contradicts the rest of the data.
            correction: Weight of the teacher's prediction when it corrects a target; 0 for true
                masks.
            correct_from: Share of the training after which targets are corrected.
            optimisation: How the weights are trained and averaged.
            finishing: What is done to the predicted masks of a case.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            InputError: An option is out of range, or ``encoder`` is unknown.
        """
        shares = {"robustness": robustness, "correction": correction, "correct_from": correct_from}
        for name, value in shares.items():
            if not 0 <= value <= 1:
                raise InputError(f"--model.{name} {value:g}: must be from 0 to 1")
        data = DataSpec.from_dict(spec)
        super().__init__(
            self.build_network(data, encoder, input_channels(data, symmetry), widths),
            spec,
            symmetry=symmetry,
            optimisation=optimisation,
            finishing=finishing,
            augmentation=augmentation,
        )
        self.robustness = robustness
        self.correction = correction
        self.correct_from = correct_from
        self.targets = targets
        self.containers = containers(data.classes)

    @staticmethod
    def build_network(
        data: DataSpec, encoder: str | None, channels: int, widths: Sequence[int]
    ) -> nn.Module:
        """Make the network; a subclass may make one that gives more maps than logits.

        Args:
            data: The data specification.
            encoder: See the constructor.
            channels: Number of channels that the network sees.
            widths: See the constructor.

        Returns:
            A network [B, channels, H, W] -> [B, C or more, H, W], of which the first C are logits.
        """
        return segmentation_network(data, encoder, channels, widths, len(data.classes))

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

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the loss of the corrected targets.

        Raises:
            InputError: Nothing gave the batch its targets.
        """
        if "target" not in batch:
            raise InputError(
                "--model.targets: is missing; masks to learn from come from a first stage, give "
                "--model.targets.checkpoint RUN/last.ckpt"
            )
        given = with_corrected(batch["target"], batch.get("corrected"))
        target = self._correct(given, batch, seen)
        counted = (given >= 0) & batch["valid"][:, None]
        maps = _maps(self.network, seen)
        loss = self.mask_loss(maps[:, : self.num_classes], target, counted, drawn_slices(batch))
        change = ((target - given).abs() * counted).sum() / counted.sum().clamp_min(1)
        size = len(batch["index"])
        self.log(
            "train/corrected", change, on_step=False, on_epoch=True, sync_dist=True, batch_size=size
        )
        return {"targets": loss, **self.further_losses(maps, target, counted, batch)}

    def mask_loss(self, logits: Tensor, target: Tensor, counted: Tensor, drawn: Tensor) -> Tensor:
        """Return the loss of logits; see :func:`~wsseg.segmentation.losses.noisy_mask_loss`."""
        return noisy_mask_loss(logits, target, counted, self.robustness, drawn)

    def further_losses(
        self, maps: Tensor, target: Tensor, counted: Tensor, batch: Batch
    ) -> dict[str, Tensor]:
        """Return the losses of the maps that a network gives beside the logits; here none.

        Args:
            maps: All that the network gives, [B, C or more, H, W].
            target: The corrected targets, [B, C, H, W].
            counted: [B, C, H, W] bool, pixels that have a target.
            batch: The augmented batch.
        """
        return {}

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices; no class is more probable than one that contains it.

        A slice is as likely to have a tag as its most probable pixel is to belong to the class.
        """
        probability = torch.sigmoid(self._logits(network, seen)) * valid[:, None]
        nested = nest(probability, self.containers)
        return SlicePrediction(nested, nested.amax(dim=(2, 3)))

    @torch.no_grad()
    def _correct(self, given: Tensor, batch: Batch, seen: Tensor) -> Tensor:
        """Return targets, corrected by the teacher in later training where nobody has drawn."""
        if self.correction == 0:
            return given
        done = self.global_step / max(1.0, self.trainer.estimated_stepping_batches)
        if done < self.correct_from:
            return given
        opinion = torch.sigmoid(self._logits(self.teacher, seen)) * batch["valid"][:, None]
        doubted = corrected(given, opinion, batch["tags"], self.correction, CONFIDENCE)
        return torch.where(drawn_slices(batch)[:, None, None, None], given, doubted)

    def _logits(self, network: nn.Module, seen: Tensor) -> Tensor:
        return _maps(network, seen)[:, : self.num_classes]


def drawn_slices(batch: Batch) -> Tensor:
    """Return in which slices of a batch a person has drawn the target, [B] bool."""
    if "corrected" not in batch:
        return torch.zeros(len(batch["index"]), dtype=torch.bool, device=batch["index"].device)
    return (batch["corrected"] >= 0).flatten(1).any(dim=1)


def segmentation_network(
    data: DataSpec, encoder: str | None, channels: int, widths: Sequence[int], maps: int
) -> nn.Module:
    """Make the network that suits data.

    Args:
        data: The data specification.
        encoder: Name of an encoder, or None for the usual network.
        channels: Number of channels that it sees.
        widths: Channels of each level, finest first.
        maps: Number of channels that it gives.

    Raises:
        InputError: The encoder is unknown, or has more levels than slices can be halved for.
    """
    if encoder is None and not data.of_pictures:
        return build_network(channels, maps, widths)
    name = encoder or usual_encoder(data)
    built = build_encoder(name, channels, widths, data.size, data.plan.scales)
    return DecoderNetwork(built, maps)


def _maps(network: nn.Module, seen: Tensor) -> Tensor:
    """Return the maps [B, C or more, H, W] of a network; channels last are faster."""
    maps: Tensor = network(seen.contiguous(memory_format=torch.channels_last))
    return maps.float()
