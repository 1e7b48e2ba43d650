"""Feature decomposition for classes that occur together and touch each other."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from wsseg.comparators.base import Comparator, MakeEncoder
from wsseg.comparators.decomposition_losses import (
    CoAttention,
    alignment_loss,
    draw_partners,
    exclusion_loss,
    map_suppression,
    nested_maximum,
    nesting,
)
from wsseg.comparators.paired_maps import (
    PairedHeads,
    PairedMaps,
    training_tag_shares,
    weighted_cross_entropy,
)
from wsseg.comparators.reference_losses import standardise_slices
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.encoders import Encoder
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.errors import InputError

EXCLUSION, COMMON, ALIGNMENT = 0.2, 0.1, 0.1  # weights of the authors' code
FINE_LEVEL = 2  # a quarter of the resolution


class DecompositionOutput(NamedTuple):
    """What slices show on their own, and what they share with their partners."""

    own: PairedMaps
    common: PairedMaps


class DecompositionNetwork(nn.Module):
    """An encoder with two pairs of heads: on its features, and on those shared with a partner."""

    def __init__(self, encoder: Encoder, num_classes: int) -> None:
        """Put heads and attention on an encoder.

        Args:
            encoder: Any encoder.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.encoder = encoder
        self.fine = min(FINE_LEVEL, len(encoder.widths) - 2)
        widths = (encoder.widths[self.fine], encoder.widths[-1])
        self.own_heads = PairedHeads(widths, num_classes)
        self.common_heads = PairedHeads(widths, num_classes)
        self.attention = nn.ModuleList(CoAttention(width) for width in widths)

    def levels(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two levels that are read of slices [B, M, H, W]."""
        levels = self.encoder(image)
        return levels[self.fine], levels[-1]

    def forward(self, image: Tensor, partner: Tensor) -> DecompositionOutput:
        """Map slices [B, M, H, W].

        Args:
            image: The slices.
            partner: For each slice the number of another one of the batch, [B].
        """
        size, levels = image.shape[-2:], self.levels(image)
        shared = [
            attend(level, level[partner])
            for attend, level in zip(self.attention, levels, strict=True)
        ]
        return DecompositionOutput(self.own_heads(levels, size), self.common_heads(shared, size))


class FeatureDecomposition(Comparator):
    """CAM for several classes, told apart by what pairs of slices share and by mutual erasure.

    Z. Kuang, Z. Yan, L. Yu, "Weakly supervised learning for multi-class medical image segmentation
    via feature decomposition", Computers in Biology and Medicine 171:108228, 2024; inputs,
    attention, form and weights of the losses after the public code. A slice attends to a partner
    that shares a tag with it, and what they have in common must show exactly the classes that both
    are tagged with (decomposition); the maps of two classes erase each other, and each must still
    tell its class (exclusion).

    Published for tumour core and oedema, which are disjoint. Of nested classes, a map shows the
    part of a class that no inner class has, it is trained with the tag of the class, and the class
    is predicted where the map of it or of an inner one is. A partner is drawn from the batch
    instead of from all training slices. The authors' encoder is replaced by that of plain CAM, of
    whose levels a quarter of the resolution and the deepest are read (theirs: a quarter and a
    sixteenth); optimiser, schedule and averaged weights are plain CAM's too. One term of the public
    code adds tensors that do not fit: the union of two maps is read as its mean.

    Example:
        >>> classes = {"whole": (1, 2), "core": (1,)}
        >>> spec = DataSpec(("T1", "FLAIR"), classes, "axial", None, (32, 32))
        >>> module = FeatureDecomposition(spec.to_dict(), widths=(4, 8))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 2, 32, 32])
    """

    class_weights: Tensor

    def __init__(self, spec: dict[str, Any], **settings: Any) -> None:
        """Build the network.

        Args:
            spec: The data specification.
            **settings: The arguments of :class:`Comparator`.

        Raises:
            InputError: There is only one class, or an option is out of range.
        """
        super().__init__(spec, **settings)
        self.nesting = nesting(list(self.spec.classes.values()))
        self.register_buffer("class_weights", torch.full((self.num_classes, 2), 0.5))

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make the network with its two pairs of heads.

        Raises:
            InputError: There is only one class.
        """
        if len(spec.classes) < 2:
            raise InputError(
                "feature decomposition needs at least two classes, but the data has only "
                f"{', '.join(spec.classes)}; prepare the store with more classes"
            )
        return DecompositionNetwork(make_encoder(channels), len(spec.classes))

    def on_fit_start(self) -> None:
        """Weigh background and class by their frequency in the training tags."""
        super().on_fit_start()
        tagged = training_tag_shares(self.trainer, self.num_classes)
        self.class_weights.copy_(torch.stack((tagged, 1 - tagged), dim=1))

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the same losses of own and of common maps, and the alignment of the two."""
        tags = batch["tags"]
        partner = draw_partners(tags)
        image = standardise_slices(seen, batch["valid"])
        output: DecompositionOutput = self.network(image, partner)
        with torch.autocast(tags.device.type, enabled=False):
            own, common = (PairedMaps(maps.cam.float(), maps.logits.float()) for maps in output)
            shared = tags * tags[partner]
            losses = self._maps_losses(own, tags)
            total = torch.stack(list(self._maps_losses(common, shared).values())).sum()
            losses["common"] = COMMON * total
            losses["alignment"] = ALIGNMENT * alignment_loss(own.cam, common.cam, shared)
        return losses

    def _maps_losses(self, maps: PairedMaps, tags: Tensor) -> dict[str, Tensor]:
        entropies = [weighted_cross_entropy(e, tags, self.class_weights) for e in maps.logits]
        return {
            "suppression": map_suppression(maps.cam, tags, self.nesting),
            "classification": self.num_classes * torch.stack(entropies).sum(),  # a mean over them
            "exclusion": EXCLUSION * exclusion_loss(maps.cam, tags, self.nesting),
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by their own maps, for which no partner is needed."""
        assert isinstance(network, DecompositionNetwork)
        levels = network.levels(standardise_slices(seen, valid))
        maps = network.own_heads(levels, seen.shape[-2:])
        tags = maps.logits.float().mean(dim=0).softmax(dim=2)[..., 1]
        return SlicePrediction(nested_maximum(maps.cam[:, :, 1].float(), self.nesting), tags)
