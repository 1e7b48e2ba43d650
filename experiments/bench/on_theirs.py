"""The authors' network, trained as wsseg trains: cluster maps come with the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wsseg.comparators.base import Comparator
from wsseg.comparators.reference_network import ReferenceNetwork
from wsseg.data.spec import Batch
from wsseg.models.losses import (
    classification_loss,
    cluster_loss,
    reconstruction_loss,
    suppression_loss,
)

RECONSTRUCTION_WEIGHT = 0.5  # of CamModule
NEAREST = 1e-3  # to 0 and 1, for a finite logit


class WssegOnTheirs(Comparator):
    """The losses of ``CamModule`` on the outputs of the authors' network."""

    def __init__(self, spec: dict[str, Any], base_width: int) -> None:
        """Build the network and its teacher.

        Args:
            spec: The data specification.
            base_width: Channels of the finest level.
        """
        super().__init__(spec)

    def build_network(self) -> nn.Module:
        """Make the authors' network."""
        width = self.hparams["base_width"]
        return ReferenceNetwork(len(self.spec.modalities), self.num_classes, width)

    def losses(self, view: Batch) -> dict[str, Tensor]:
        """Classification, suppression, cluster maps and the reconstruction of the last modality."""
        image, valid, tags = view["image"], view["valid"], view["tags"]
        output = self.network(image)
        cam = torch.logit(output.maps.cam[:, :, 1], NEAREST)
        background, found = output.maps.logits.unbind(dim=-1)
        reconstruction = reconstruction_loss(output.reconstruction[:, None], image[:, -1:], valid)
        return {
            "classification": classification_loss(found - background, tags),
            "suppression": suppression_loss(cam, valid, tags),
            "cluster": cluster_loss(cam, valid, view["cluster_map"]),
            "reconstruction": RECONSTRUCTION_WEIGHT * reconstruction,
        }
