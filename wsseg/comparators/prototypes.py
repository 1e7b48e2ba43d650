"""Maps of likeness to local prototypes, in the manner of LPCAM."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from wsseg.comparators.base import Comparator, map_head
from wsseg.comparators.explanations import by_slice_maximum, gated
from wsseg.comparators.prototype_clusters import (
    Prototypes,
    likeness,
    select_prototypes,
    spherical_clusters,
)
from wsseg.models.cam_network import CamNetwork, CamOutput
from wsseg.models.network_input import slice_input
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.distributed import current_collective
from wsseg.utils.errors import check_option
from wsseg.utils.lightning import is_last_epoch, join_metrics
from wsseg.utils.sampling import evenly_spaced

ACTIVE = 0.1  # of the maximum of a slice: its features go to the class, the others to the context
SURE, UNLIKELY = 0.9, 0.05
PER_SLICE = 64  # pixels of a slice and side that are clustered


class PrototypeCam(Comparator):
    """Plain CAM whose map is remade from clusters of local features, once trained.

    Z. Chen, Q. Sun, "Extracting Class Activation Maps from Non-Discriminative Features as well",
    CVPR 2023. The decoder's features of tagged slices are clustered by direction, where the map is
    active and where it is not; clusters that the head is sure of become prototypes of the class,
    clusters outside that it finds neither sure nor unlikely become prototypes of the context. The
    map is the mean likeness to the former less that to the latter, scaled to a maximum of 1 where
    the network predicts the tag. Prototypes are made at the end of training; before, it is plain
    CAM.

    Example:
        >>> from wsseg.data.spec import DataSpec
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> PrototypeCam(spec.to_dict(), widths=(8, 16)).centres.shape  # of class and context
        torch.Size([1, 2, 12, 8])
    """

    centres: Tensor
    used: Tensor

    def __init__(self, spec: dict[str, Any], n_prototypes: int = 12, **settings: Any) -> None:
        """Build the network.

        Args:
            spec: The data specification.
            n_prototypes: Clusters of each class, and of its context.
            **settings: The arguments of :class:`Comparator`.

        Raises:
            InputError: An option is out of range.
        """
        check_option(n_prototypes >= 1, "model.n_prototypes", n_prototypes, "at least 1")
        super().__init__(spec, **settings)
        self.n_prototypes = n_prototypes
        shape = (self.num_classes, 2, n_prototypes)
        width = map_head(cast(CamNetwork, self.network)).in_channels
        self.register_buffer("centres", torch.zeros(*shape, width))
        self.register_buffer("used", torch.zeros(shape, dtype=torch.bool))

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by their likeness to prototypes; by their CAM before there are any."""
        output: CamOutput = network(seen, valid)
        tags = output.slice_logits.float().mean(dim=0).sigmoid()
        if not self.used.any():
            return SlicePrediction(torch.sigmoid(output.cam), tags)
        features = output.features.float()
        maps = [
            likeness(features, Prototypes(centres, used))
            for centres, used in zip(self.centres, self.used, strict=True)
        ]
        return SlicePrediction(gated(torch.stack(maps, dim=1), valid, tags), tags)

    def on_train_epoch_end(self) -> None:
        """Make the prototypes at the end of the last epoch, before the weights are saved."""
        join_metrics(self.trainer)
        if is_last_epoch(self.trainer):
            self.make_prototypes(self.trainer.train_dataloader)

    @torch.no_grad()
    def make_prototypes(self, batches: Any) -> None:
        """Cluster the features of tagged slices.

        Args:
            batches: Training batches. Of several processes, the first one's become everybody's.
        """
        moved = (self.transfer_batch_to_device(batch, self.device, 0) for batch in batches)
        seen = ({**b, "image": slice_input(b["image"], b["valid"], self.symmetric)} for b in moved)
        sides = _sample(self.teacher.module, seen)
        for c, (inside, outside) in enumerate(sides):
            if len(inside):
                self.centres[c], self.used[c] = self._select(inside, outside, c)
        collective = current_collective(self.device)
        for each in (self.centres, self.used):
            each.copy_(collective.broadcast(each))

    def _select(self, inside: Tensor, outside: Tensor, c: int) -> Prototypes:
        own, context = (
            spherical_clusters(points, self.n_prototypes, seed=c) for points in (inside, outside)
        )
        pixels = torch.cat((own, context))[:, :, None, None]
        score = map_head(cast(CamNetwork, self.teacher.module))(pixels)[:, c, 0, 0].sigmoid()
        return select_prototypes(own, context, score, self.n_prototypes, SURE, UNLIKELY)


def _sample(network: nn.Module, batches: Any) -> list[tuple[Tensor, Tensor]]:
    """Return features of tagged slices by class: from where it is active, and from elsewhere."""
    found: list[tuple[list[Tensor], list[Tensor]]] = []
    for batch in batches:
        image, valid, tags = batch["image"], batch["valid"], batch["tags"]
        output: CamOutput = network(image, valid)
        maps = by_slice_maximum(torch.sigmoid(output.cam.float()) * valid[:, None])
        found = found or [([], []) for _ in range(tags.shape[1])]
        for row, c in torch.nonzero(tags).tolist():
            features = output.features[row].float()
            active = maps[row, c] > ACTIVE
            for side, where in zip(found[c], (active, ~active), strict=True):
                points = features[:, where & valid[row]].T
                side.append(points[evenly_spaced(len(points), PER_SLICE, points.device)])
    empty = torch.empty(0, 0)
    return [(torch.cat(a) if a else empty, torch.cat(b) if b else empty) for a, b in found]
