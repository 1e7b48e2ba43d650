"""The base of the comparators: plain CAM with encoder and budget of wsseg's own first stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from wsseg.data.augmentation import SliceAugmentation
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import CamNetwork, CamOutput
from wsseg.models.encoders import Encoder, build_encoder, usual_encoder
from wsseg.models.losses import classification_loss, suppression_loss
from wsseg.models.network_input import input_channels
from wsseg.models.options import Finishing, Optimisation
from wsseg.models.pixel_network import PixelNetwork, build_cam_network
from wsseg.models.slice_module import SliceModule, SlicePrediction

MakeEncoder = Callable[..., Encoder]
"""Makes the encoder that the options ask for; the argument is its number of input channels. Give
``scales``, too, if these are not the channels of the slices; see :func:`build_encoder`."""


class Comparator(SliceModule):
    """A method from the literature, with encoder and budget of ``CamModule``.

    Encoder, augmentation, optimiser, schedule and mean teacher are those of ``CamModule``, and so
    are their defaults, so that a comparison compares methods. This base is plain CAM; a subclass
    overrides what its method does otherwise: :meth:`build_network`, ``losses``, ``predict_with``.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = Comparator(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    def __init__(
        self,
        spec: dict[str, Any],
        encoder: str | None = None,
        widths: Sequence[int] = (16, 32, 64, 96),
        symmetry: bool = False,
        optimisation: Optimisation = Optimisation(),
        finishing: Finishing = Finishing(refinement=0.0),
        augmentation: SliceAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            spec: The data specification, ``MRISliceDataModule.spec.to_dict()``. It fixes the
                number of modalities and classes and travels in the checkpoint.
            encoder: Name of the encoder, a key of ``wsseg.models.ENCODERS``; by default that of
                ``CamModule``.
            widths: Channels of each level of a "unet" encoder, finest first.
            symmetry: Let the network see how the two sides of a slice differ, as wsseg's own
                modules do; as published, it does not.
            optimisation: How the weights are trained and averaged.
            finishing: What is done to the predicted masks of a case. As published, borders are not
                refined.
            augmentation: Random changes of training batches; by default ``SliceAugmentation()``.

        Raises:
            InputError: The encoder is unknown, an option is out of range, or there are more levels
                than slices can be halved for.
        """
        data = DataSpec.from_dict(spec)
        make_encoder = partial(
            build_encoder,
            encoder or usual_encoder(data),
            widths=widths,
            size=data.size,
            scales=data.plan.scales,
        )
        super().__init__(
            self.build_network(data, input_channels(data, symmetry), make_encoder),
            spec,
            symmetry=symmetry,
            optimisation=optimisation,
            finishing=finishing,
            augmentation=augmentation,
        )

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make the network.

        Args:
            spec: The data specification.
            channels: Number of channels that it sees.
            make_encoder: Makes an encoder for a number of channels.
        """
        return build_cam_network(make_encoder(channels), len(spec.classes))

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of plain CAM, which come from tags alone."""
        output: CamOutput = self.network(seen, batch["valid"])
        return {
            "classification": classification_loss(output.slice_logits, batch["tags"]),
            "suppression": suppression_loss(output.cam, batch["valid"], batch["tags"]),
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the CAM of a network."""
        output: CamOutput = network(seen, valid)
        return SlicePrediction(torch.sigmoid(output.cam), output.slice_logits.mean(dim=0).sigmoid())


def map_head(network: CamNetwork | PixelNetwork) -> nn.Conv2d:
    """Return the layer that makes the map of the features."""
    return network.head if isinstance(network, PixelNetwork) else network.fine_head
