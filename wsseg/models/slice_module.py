"""The base of every module: a network that learns, and an average of its weights that predicts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any, NamedTuple, Self

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.datamodule import check_nothing_corrected, check_tags_known
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.mean_teacher import MeanTeacher, check_averaging
from wsseg.models.network_input import batch_input, sees_asymmetry, slice_input, with_asymmetry
from wsseg.models.options import Finishing, Optimisation, from_plain
from wsseg.models.schedules import annealed_adamw
from wsseg.models.shared_statistics import share_statistics
from wsseg.models.tag_accuracy import TagAccuracy
from wsseg.utils.global_batch import process_count

CLASS_PATH = "class_path"  # where a checkpoint says of which class its module is


class SlicePrediction(NamedTuple):
    """What a module predicts for slices."""

    probability: Tensor
    """Probability of every class at every pixel, [B, C, H, W] in [0, 1]."""
    tags: Tensor
    """Probability of every tag, [B, C]."""


class SliceModule(pl.LightningModule):
    """A network learns from slices; its mean teacher predicts (Tarvainen, Valpola, NeurIPS 2017).

    A subclass builds its network and hands it to this constructor. It implements two hooks:

    - :meth:`losses` says what is learnt from a batch,
    - :meth:`predict_with` says how a network predicts slices.

    All else is here: what networks see, augmentation, optimiser, the teacher, the steps of
    Lightning's loops, and a checkpoint that holds all that prediction needs.

    Example:
        The shortest module learns that no pixel belongs to any class.

        >>> class Nothing(SliceModule):
        ...     def __init__(self, spec):
        ...         super().__init__(nn.Conv2d(1, 1, 1), spec)
        ...     def losses(self, batch, seen):
        ...         return {"nothing": self.network(seen).sigmoid().mean()}
        ...     def predict_with(self, network, seen, valid):
        ...         probability = network(seen).sigmoid()
        ...         return SlicePrediction(probability, probability.amax(dim=(2, 3)))
        >>> spec = DataSpec(("T1",), {"tumour": (1,)}, "axial", None, (16, 16))
        >>> module = Nothing(spec.to_dict())
        >>> module(torch.zeros(2, 1, 16, 16), torch.ones(2, 16, 16, dtype=torch.bool)).shape
        torch.Size([2, 1, 16, 16])
    """

    threshold: float = 0.5
    """A pixel is predicted where its probability exceeds this. Fixed in advance, for every data
    set: it is the value to which the losses calibrate the maps."""

    takes_unknown_tags: bool = False
    """Whether ``losses`` can be given tags that are NaN, since nobody knows them."""

    takes_corrections: bool = False
    """Whether ``losses`` learn from the ``corrected`` masks of batches."""

    said_of_tags: Tensor | None = None
    """Probability of every tag in the last training batch, [B, C], as the network gave it before it
    learnt from that batch; ``losses`` may set it for ``SuspiciousTags``."""

    def __init__(
        self,
        network: nn.Module,
        spec: dict[str, Any],
        *,
        symmetry: bool | None = False,
        optimisation: Optimisation | dict[str, Any] = Optimisation(),
        finishing: Finishing | dict[str, Any] = Finishing(),
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Take a network to train, and copy it for the teacher.

        The arguments of a subclass are saved as hyper-parameters, which must be plain values: it is
        made from them again when its checkpoint is loaded. Options may be given as dictionaries for
        that reason.

        Args:
            network: The network, for inputs of :func:`~wsseg.models.network_input.input_channels`.
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            symmetry: Whether the network sees how the two sides of a slice differ; None if the plan
                of the data is to say so. Sagittal slices show one side only, and there it does
                nothing.
            optimisation: How the weights are trained and averaged.
            finishing: What is done to the predicted masks of a case.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            InputError: An option is out of range.
        """
        super().__init__()
        data = DataSpec.from_dict(spec)
        self.optimisation = from_plain(Optimisation, optimisation)
        self.finishing = from_plain(Finishing, finishing)
        if data.cell is not None:  # cells are coarser than what intensities could refine
            self.finishing = replace(self.finishing, refinement=0.0)
        kept = {"optimisation": asdict(self.optimisation), "finishing": asdict(self.finishing)}
        self.save_hyperparameters(ignore=["network", "augmentation", "targets", *kept])
        self.save_hyperparameters(kept)
        self.spec = data
        self.symmetric = sees_asymmetry(self.spec, symmetry)
        self.augmentation = augmentation or SliceAugmentation()
        self.tag_accuracy = TagAccuracy()
        self.network = network
        self.teacher = MeanTeacher(network, self.optimisation.teacher_decay)
        self.to(memory_format=torch.channels_last)

    @property
    def num_classes(self) -> int:
        """Number of tags C."""
        return len(self.spec.classes)

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses of a batch by name, for their sum to be minimised.

        Args:
            batch: The augmented batch.
            seen: What the network sees of it, [B, M or 3M, H, W].
        """
        raise NotImplementedError

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices with a network; what it says outside the body does not count.

        Args:
            network: The network of this module, or a copy of it.
            seen: What it sees of the slices, [B, M or 3M, H, W].
            valid: Pixels that hold the body, [B, H, W] bool.
        """
        raise NotImplementedError

    def predict(self, image: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices with the teacher; the probability outside the body is 0.

        Args:
            image: Normalised slices, [B, M, H, W].
            valid: Pixels that hold the body, [B, H, W] bool.
        """
        seen = slice_input(image, valid, self.symmetric)
        prediction = self.predict_with(self.teacher.module, seen, valid)
        return prediction._replace(probability=prediction.probability * valid[:, None])

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        """Return the probability of every class at every pixel.

        Args:
            image: Normalised slices, [B, M, H, W].
            valid: Pixels that hold the body, [B, H, W] bool.

        Returns:
            [B, C, H, W] in [0, 1]; 0 outside the body.
        """
        return self.predict(image, valid).probability

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the sum of the losses of one augmented batch, and log each of them."""
        view = self.augment(batch)
        losses = self.losses(view, batch_input(view))
        total = torch.stack(list(losses.values())).sum()
        size = len(batch["index"])
        self.log("loss", total, prog_bar=True, logger=False, batch_size=size)  # of the step
        self.log_dict(
            {f"train/{name}": loss for name, loss in {"loss": total, **losses}.items()},
            on_step=False,
            on_epoch=True,
            sync_dist=True,
            batch_size=size,
        )
        return total

    def augment(self, batch: Batch) -> Batch:
        """Return a randomly changed copy of a training batch."""
        view: Batch = self.augmentation(with_asymmetry(batch) if self.symmetric else batch)
        return view

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
        """Return AdamW, its learning rate warmed up and then annealed over the whole run."""
        trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
        return annealed_adamw(trained, self.optimisation, self.trainer.estimated_stepping_batches)

    def configure_callbacks(self) -> list[pl.Callback]:
        """Refuse a training that the teacher cannot follow; this comes before any file is written.

        Raises:
            InputError: See :func:`~wsseg.models.mean_teacher.check_averaging`.
        """
        if self.trainer.state.fn == "fit":
            check_averaging(self.trainer, self.teacher.decay)
        return []

    def setup(self, stage: str) -> None:
        """Let several processes normalise as one would that has all of their slices."""
        if stage == "fit" and process_count() > 1:
            share_statistics(self, self.trainer.strategy.root_device)

    def on_fit_start(self) -> None:
        """Refuse unknown tags and corrected masks, if the losses cannot be given them.

        Raises:
            InputError: See :mod:`wsseg.data.datamodule`.
        """
        if not self.takes_unknown_tags:
            check_tags_known(self.trainer, type(self).__name__)
        if not self.takes_corrections:
            check_nothing_corrected(self.trainer, type(self).__name__)

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Make a step of the optimiser, and average the new weights into the teacher.

        Here, since callbacks may save a checkpoint before ``on_train_batch_end``, and since several
        batches may make one step.
        """
        super().optimizer_step(*args, **kwargs)
        self.teacher.update_parameters(self.network)

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of all but the teacher, whose statistics no batch may change."""
        super().train(mode)
        self.teacher.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Note which class ``load_module`` is to make."""
        checkpoint[CLASS_PATH] = f"{type(self).__module__}.{type(self).__qualname__}"
