"""Equivariance within and across modalities: one network for each modality."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.base import Comparator, MakeEncoder
from wsseg.comparators.transforms import move, move_valid, random_grid
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import CamOutput
from wsseg.models.losses import classification_loss, suppression_loss
from wsseg.models.pixel_network import build_cam_network
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.distributed import current_collective
from wsseg.utils.errors import InputError, check_option

AGREEMENT = 0.5  # weight of the divergence of tag predictions
TEMPERATURE = 10.0  # softens the tag predictions that are compared
LOSS_DECAY = 0.98  # of the averaged classification losses: some 50 steps


class CrossModality(Comparator):
    """A CAM network for each modality, with equivariance within and across modalities.

    G. Patel, J. Dolz, "Weakly supervised segmentation with cross-modality equivariant constraints",
    Medical Image Analysis 77, 2022. Every network sees one modality, in a slice and in the moved
    slice. Its map must be equivariant in tagged slices; it must agree with the maps of the other
    modalities in the other view, where these find the tag; and its tag predictions must agree with
    theirs. Others are taken as they are: no gradient flows into them. Maps are sigmoids, so that
    the fixed threshold of plain CAM holds.

    The authors publish the maps of each modality alone, and never average them. Here one
    modality predicts: that whose network had the lowest classification loss, by a moving average
    over the last steps of training, which needs tags alone.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> len(CrossModality(spec.to_dict(), widths=(8, 16)).network)
        2
    """

    tag_losses: Tensor

    def __init__(self, spec: dict[str, Any], cross_weight: float = 0.1, **settings: Any) -> None:
        """Build the networks.

        Args:
            spec: The data specification.
            cross_weight: Weight of equivariance across modalities. The public code averages this
                term over pixels, which all but removes it; at 1 it makes the maps spread.
            **settings: The arguments of :class:`Comparator`.

        Raises:
            InputError: There is only one modality, or an option is out of range.
        """
        if settings.get("symmetry"):
            raise InputError("--model.symmetry: each network sees one modality only; leave it out")
        check_option(0 <= cross_weight < math.inf, "model.cross_weight", cross_weight, "at least 0")
        super().__init__(spec, **settings)
        self.cross_weight = cross_weight
        # All start at 0: the bias of the averages is the same, and their order is right.
        self.register_buffer("tag_losses", torch.zeros(len(self.spec.modalities)))

    @staticmethod
    def build_network(
        spec: DataSpec,
        channels: int,  # noqa: ARG004 (every network sees one)
        make_encoder: MakeEncoder,
    ) -> nn.Module:
        """Make one network for each modality.

        Raises:
            InputError: There is only one modality.
        """
        if len(spec.modalities) < 2:
            raise InputError(
                "cross-modality equivariance needs at least two modalities, but the data has only "
                f"{', '.join(spec.modalities)}; prepare the store with more modalities"
            )
        encoders = (
            make_encoder(1, scales=spec.plan.scales[number : number + 1])
            for number in range(len(spec.modalities))
        )  # one by one, so that each network's weights are drawn together
        return nn.ModuleList(build_cam_network(each, len(spec.classes)) for each in encoders)

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return tag losses of each network on slices and moved slices, and how they disagree."""
        image, valid, tags = seen, batch["valid"], batch["tags"]
        grid = random_grid(len(image), (image.shape[2], image.shape[3]), image.device)
        there = move_valid(valid, grid)
        first = _outputs(self.network, image, valid)
        second = _outputs(self.network, move(image, grid) * there[:, None], there)
        both = [(out, valid) for out in first] + [(out, there) for out in second]
        maps = [torch.sigmoid(out.cam) * inside[:, None] for out, inside in both]
        still = [move(each, grid) for each in maps[: len(first)]]  # the first view's, moved
        moved = maps[len(first) :]
        classified = torch.stack(
            [classification_loss(out.slice_logits, tags) for out, _ in both]
        ).view(2, -1)  # by view and modality
        self._average_tag_losses(classified.detach().float().mean(dim=0))
        suppressed = [suppression_loss(out.cam, inside, tags) for out, inside in both]
        within = [equivariance(s, m, tags) for s, m in zip(still, moved, strict=True)]
        scores = [[_score(out) for out in outputs] for outputs in (first, second)]
        across = cross_equivariance((still, moved), scores, tags)
        agreed = [agreement(each, TEMPERATURE) for each in scores]
        return {
            "classification": classified.mean(),
            "suppression": torch.stack(suppressed).mean(),
            "equivariance": torch.stack(within).mean(),
            "cross": self.cross_weight * across,
            "agreement": AGREEMENT * torch.stack(agreed).mean(),
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the modality whose network predicts training tags best."""
        best = int(self.tag_losses.argmin())
        output: CamOutput = cast(nn.ModuleList, network)[best](seen[:, [best]], valid)
        return SlicePrediction(torch.sigmoid(output.cam), torch.sigmoid(_score(output)))

    @torch.no_grad()
    def _average_tag_losses(self, losses: Tensor) -> None:
        collective = current_collective(losses.device)
        losses = collective.sum(losses) / collective.size  # all processes choose the same modality
        self.tag_losses.lerp_(losses, 1 - LOSS_DECAY)


def equivariance(one: Tensor, other: Tensor, tags: Tensor) -> Tensor:
    """Return the mean squared difference of two maps [B, C, H, W], where tagged [B, C]."""
    return ((one - other).square() * tags[:, :, None, None]).mean()


def cross_equivariance(
    views: tuple[Sequence[Tensor], Sequence[Tensor]],
    scores: Sequence[Sequence[Tensor]],
    tags: Tensor,
) -> Tensor:
    """Compare each modality's map with the other modalities' maps in the other view.

    Args:
        views: Maps of each modality in the two views on one grid, [B, C, H, W] each.
        scores: Logits of tags of each modality in the two views, [B, C] each.
        tags: [B, C], 0 or 1.

    Returns:
        The mean of 2 - 2 cos over pairs of modalities, where tagged and found by the other one.
    """
    losses = []
    for here, there in ((0, 1), (1, 0)):
        for i, own in enumerate(views[here]):
            for j, theirs in enumerate(views[there]):
                if i != j:
                    cosine = F.cosine_similarity(
                        own.flatten(2), theirs.detach().flatten(2), dim=2, eps=1e-6
                    )
                    counted = tags * (scores[there][j].detach() > 0)
                    losses.append(((2 - 2 * cosine) * counted).mean())
    return torch.stack(losses).mean()


def agreement(scores: Sequence[Tensor], temperature: float) -> Tensor:
    """Divergence of every modality's tag predictions from the others', which are held fixed.

    Args:
        scores: Logits of each modality, [B, C] each.
        temperature: Divides the logits; the loss is multiplied by its square.

    Returns:
        The mean Kullback-Leibler divergence over pairs, slices and tags.
    """
    losses = []
    for i, own in enumerate(scores):
        for j, theirs in enumerate(scores):
            if i != j:
                target = torch.sigmoid(theirs.detach() / temperature)
                cross = F.binary_cross_entropy_with_logits(own / temperature, target)
                entropy = F.binary_cross_entropy_with_logits(theirs.detach() / temperature, target)
                losses.append(temperature**2 * (cross - entropy))
    return torch.stack(losses).mean()


def _outputs(network: nn.Module, image: Tensor, valid: Tensor) -> list[CamOutput]:
    networks = cast(nn.ModuleList, network)
    # Not by a list of channels, which waits for the device.
    channels = [channel.contiguous() for channel in image.split(1, dim=1)]
    return [each(channel, valid) for each, channel in zip(networks, channels, strict=True)]


def _score(output: CamOutput) -> Tensor:
    return output.slice_logits.mean(dim=0)
