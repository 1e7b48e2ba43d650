"""The authors' network, trained as wsseg trains: cluster maps come with the batch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from wsseg.comparators.reference_network import ReferenceNetwork
from wsseg.data.spec import Batch
from wsseg.models.losses import (
    classification_loss,
    cluster_loss,
    reconstruction_loss,
    suppression_loss,
)
from wsseg.models.slice_module import SliceModule

RECONSTRUCTION_WEIGHT = 0.5  # of CamModule
NEAREST = 1e-3  # to 0 and 1, for a finite logit


class WssegOnTheirs(SliceModule):
    """The losses of ``CamModule`` on the outputs of the authors' network."""

    def __init__(self, spec: dict[str, Any], base_width: int) -> None:
        """Build the network and its teacher.

        Args:
            spec: The data specification.
            base_width: Channels of the finest level.
        """
        modalities, classes = len(spec["modalities"]), len(spec["classes"])
        super().__init__(ReferenceNetwork(modalities, classes, base_width), spec)

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of tags, cluster maps and reconstruction of the last modality."""
        valid, tags = batch["valid"], batch["tags"]
        output = self.network(seen)
        cam = torch.logit(output.maps.cam[:, :, 1], NEAREST)
        background, found = output.maps.logits.unbind(dim=-1)
        reconstruction = reconstruction_loss(output.reconstruction[:, None], seen[:, -1:], valid)
        return {
            "classification": classification_loss(found - background, tags),
            "suppression": suppression_loss(cam, valid, tags),
            "cluster": cluster_loss(cam, valid, batch["cluster_map"]),
            "reconstruction": RECONSTRUCTION_WEIGHT * reconstruction,
        }
