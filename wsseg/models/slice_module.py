"""The base of every LightningModule: a network, and the average of its weights that predicts."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.mean_teacher import MeanTeacher, check_averaging
from wsseg.models.network_input import (
    input_channels,
    shows_both_sides,
    slice_input,
    with_asymmetry,
)
from wsseg.models.schedules import annealed_adamw
from wsseg.models.tag_accuracy import TagAccuracy

CLASS_PATH = "class_path"  # where a checkpoint says of which class its module is


class SlicePrediction(NamedTuple):
    """What a module predicts for slices."""

    probability: Tensor
    """Of every class at every pixel, [B, C, H, W] in [0, 1]."""
    tags: Tensor
    """Probability of every tag, [B, C]."""


class SliceModule(pl.LightningModule):
    """Learns from slices; a mean teacher predicts (Tarvainen and Valpola, NeurIPS 2017).

    A subclass gives :meth:`adopt` a network, says what is learnt (``training_step``) and how
    the teacher predicts (:meth:`predict`). Its checkpoint holds all that prediction needs.
    """

    threshold: float = 0.5
    """A pixel is predicted where its probability exceeds this. Fixed in advance, for every data
    set: it is the value to which the losses calibrate the maps."""

    def __init__(
        self,
        spec: dict[str, Any],
        smallest_component: float,
        augmentation: SliceAugmentation | None,
        sharpening: float = 0.0,
        symmetry: bool = False,
    ) -> None:
        """Save what a subclass was made with.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            smallest_component: Predicted components, connected in 3-D, below this share of the
                volume of the case's largest one are dropped; 0 keeps all.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.
            sharpening: Strength of border refinement by each patient's own intensities; 0 leaves
                borders as predicted.
            symmetry: Let networks see how the two sides of a slice differ; does nothing in
                sagittal slices, which show one.

        Raises:
            ValueError: ``smallest_component`` or ``sharpening`` is out of range.
        """
        super().__init__()
        if not 0 <= smallest_component <= 1:
            raise ValueError(
                f"--model.smallest_component {smallest_component:g}: must be from 0 to 1"
            )
        if not sharpening >= 0:
            raise ValueError(f"--model.sharpening {sharpening:g}: must be at least 0")
        self.save_hyperparameters(ignore=["augmentation", "targets"])
        self.spec = DataSpec.from_dict(spec)
        self.symmetric = symmetry and shows_both_sides(self.spec)
        self.smallest_component = smallest_component
        self.sharpening = sharpening
        self.augmentation = augmentation or SliceAugmentation()
        self.tag_accuracy = TagAccuracy()

    def adopt(self, network: nn.Module, teacher_decay: float) -> None:
        """Take a network to train, and an average of its weights to predict with.

        Args:
            network: The network.
            teacher_decay: Share of the averaged weights that every step keeps.
        """
        self.network = network
        self.teacher = MeanTeacher(network, teacher_decay)
        self.to(memory_format=torch.channels_last)

    @property
    def num_classes(self) -> int:
        """Number of tags C."""
        return len(self.spec.classes)

    @property
    def input_channels(self) -> int:
        """Number of channels of :meth:`input_of`."""
        return input_channels(self.spec, self.symmetric)

    def input_of(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return what networks see of slices that nothing has moved, [B, M or 3M, H, W].

        Args:
            image: Normalised slices, [B, M, H, W].
            valid: Pixels that hold anatomy, [B, H, W] bool.
        """
        return slice_input(image, valid, self.symmetric)

    def augment(self, batch: Batch) -> Batch:
        """Return a random view of a training batch; ``batch_input`` is what networks see of it."""
        view: Batch = self.augmentation(with_asymmetry(batch) if self.symmetric else batch)
        return view

    def predict(self, image: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices with the teacher.

        Args:
            image: Normalised slices, [B, M, H, W].
            valid: Pixels that hold anatomy, [B, H, W] bool.

        Returns:
            Probabilities, 0 outside anatomy.
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
        return self.predict(image, valid).probability

    def configure_callbacks(self) -> list[pl.Callback]:
        """Refuse a training that the teacher cannot follow; this comes before any file is written.

        Raises:
            InputError: See :func:`~wsseg.models.mean_teacher.check_averaging`.
        """
        if self.trainer.state.fn == "fit":
            check_averaging(self.trainer, self.teacher.decay)
        return []

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of all but the teacher: it never learns from a batch, only follows."""
        super().train(mode)
        self.teacher.eval()
        return self

    def add_up(self, losses: dict[str, Tensor], batch: Batch) -> Tensor:
        """Log the weighted losses of a batch, by name, and return their sum."""
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note which class ``load_module`` is to make."""
        checkpoint[CLASS_PATH] = f"{type(self).__module__}.{type(self).__qualname__}"

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make a step of the optimiser, and let the teacher follow.

        Here, since callbacks may save a checkpoint before ``on_train_batch_end``, and since several
        batches may make one step.
        """
        super().optimizer_step(*args, **kwargs)
        self.teacher.update_parameters(self.network)

    def validation_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``probability`` [B, C, H, W] and log how well tags are predicted."""
        prediction = self.predict(batch["image"], batch["valid"])
        self.tag_accuracy.update(prediction.tags, batch["tags"], batch["index"])
        self.log("val/tag_accuracy", self.tag_accuracy, batch_size=len(batch["index"]))
        return {"probability": prediction.probability}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return ``probability`` [B, C, H, W]; ``CaseEvaluation`` scores it."""
        return {"probability": self(batch["image"], batch["valid"])}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW, its learning rate warmed up and then annealed over the whole run."""
        return annealed_adamw(
            [parameter for parameter in self.parameters() if parameter.requires_grad],
            self.hparams["lr"],
            self.hparams["weight_decay"],
            self.trainer.estimated_stepping_batches,
        )
