"""What all comparators share: encoder, budget and interface of plain CAM."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch
from wsseg.models.cam_network import CamNetwork
from wsseg.models.encoders import Encoder, build_encoder
from wsseg.models.network_input import batch_input
from wsseg.models.slice_module import SliceModule, SlicePrediction


class Comparator(SliceModule):
    """A method from the literature, within the framework and the budget of ``CamModule``.

    Encoder, augmentation, optimiser, schedule and mean teacher are those of ``CamModule``, and so
    are their defaults, so that a comparison compares methods. A subclass says what is trained
    (:meth:`losses`) and what is predicted (:meth:`predict_with`), and if need be by which network
    (:meth:`build_network`).
    """

    def __init__(
        self,
        spec: dict[str, Any],
        encoder: str = "unet",
        widths: Sequence[int] = (16, 32, 64, 96),
        lr: float = 2e-3,
        weight_decay: float = 1e-4,
        teacher_decay: float = 0.98,
        sharpening: float = 0.0,
        smallest_component: float = 0.1,
        augmentation: SliceAugmentation | None = None,
        symmetry: bool = False,
    ) -> None:
        """Build the network and its teacher.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            encoder: Name of the encoder, a key of ``wsseg.models.ENCODERS``.
            widths: Channels of each level of a "unet" encoder, finest first.
            lr: Peak learning rate of AdamW (linear warm-up, then cosine decay to 0).
            weight_decay: Weight decay of AdamW.
            teacher_decay: Share of the averaged weights that every step keeps; 0 predicts with
                the weights of the last step.
            sharpening: Strength of border refinement by each patient's own intensities, as in
                wsseg's own modules; 0, as published, leaves borders as predicted.
            smallest_component: Predicted components, connected in 3-D, below this share of the
                volume of the case's largest one are dropped; 0 keeps all.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.
            symmetry: Let the network see how the two sides of a slice differ, as wsseg's own
                modules do; as published, it does not.

        Raises:
            ValueError: The encoder is unknown or has more levels than slices can be halved for, or
                ``sharpening`` or ``smallest_component`` is out of range.
        """
        super().__init__(spec, smallest_component, augmentation, sharpening, symmetry)
        self.adopt(self.build_network(), teacher_decay)

    def build_encoder(self, in_channels: int | None = None) -> Encoder:
        """Make an encoder as the settings say.

        Args:
            in_channels: Number of input channels; by default those of the modalities and, if the
                network sees it, of their asymmetry.
        """
        channels = in_channels or self.input_channels
        name, widths = self.hparams["encoder"], self.hparams["widths"]
        return build_encoder(name, channels, widths, self.spec.size)

    def build_network(self) -> nn.Module:
        """Make the network: by default that of plain CAM."""
        return CamNetwork(self.build_encoder(), self.num_classes)

    def losses(self, view: Batch) -> dict[str, Tensor]:
        """Return the weighted losses of an augmented batch, by name.

        Args:
            view: The batch; its ``image`` is what the network sees.
        """
        raise NotImplementedError

    def predict_with(self, network: nn.Module, image: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices with a network.

        Args:
            network: What :meth:`build_network` made, or a copy of it.
            image: What the network sees of normalised slices, [B, M or 3M, H, W].
            valid: Pixels that hold anatomy, [B, H, W] bool.
        """
        raise NotImplementedError

    def predict(self, image: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices with the teacher."""
        seen = self.input_of(image, valid)
        prediction = self.predict_with(self.teacher.module, seen, valid)
        return prediction._replace(probability=prediction.probability * valid[:, None])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Add up the losses of one augmented batch."""
        view = self.augment(batch)
        view["image"] = batch_input(view)
        return self.add_up(self.losses(view), batch)
