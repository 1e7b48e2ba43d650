"""After TSSK-Net: a student that knows untagged slices only differs from its guide at lesions."""

from __future__ import annotations

from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.base import Comparator, MakeEncoder
from wsseg.comparators.contrast import supervised_contrast
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.encoders import Encoder, UNetEncoder
from wsseg.models.losses import classification_loss
from wsseg.models.pretrained import PretrainedEncoder
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.distributed import current_collective

# All of these are guesses: the abstract names no value.
EMBEDDING_WIDTH = 32  # numbers that describe a slice for the contrast
NORMAL_DECAY = 0.98  # of the averaged mean and deviation of untagged slices: some 50 steps
LESION_DEVIATIONS = 2.0  # above the mean of untagged slices, from which a pixel is lesion


class GuidedOutput(NamedTuple):
    """What the guide says of slices, and where the student differs from it."""

    tag_logits: Tensor
    """[B, C]."""
    embedding: Tensor
    """What slices are contrasted by, [B, D]."""
    difference: Tensor
    """Of each level, at least 0, [B, L, H, W]."""


class GuidedNetwork(nn.Module):
    """A classifier of slices, the guide, and an encoder, the student, that imitates its levels."""

    def __init__(self, guide: Encoder, student: Encoder, num_classes: int) -> None:
        """Put the heads on the guide.

        Args:
            guide: Any encoder.
            student: An encoder with as many channels in each level.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.guide = guide
        self.classifier = nn.Linear(guide.widths[-1], num_classes)
        self.projection = nn.Linear(guide.widths[-1], EMBEDDING_WIDTH)
        self.student = student

    def forward(self, image: Tensor) -> GuidedOutput:
        """Compare guide and student; the student does not pull the guide.

        Args:
            image: Slices, [B, M, H, W].
        """
        guide = self.guide(image)
        pooled = guide[-1].mean(dim=(2, 3))
        difference = level_difference(
            [level.detach() for level in guide], self.student(image), image.shape[-2:]
        )
        return GuidedOutput(self.classifier(pooled), self.projection(pooled), difference)


class AfterTsskNet(Comparator):
    """Lesion is where a student of untagged slices differs from its guide, who knows both.

    After X. Liu, Q. Liu, Y. Zhang, M. Wang, J. Tang, "TSSK-Net: Weakly supervised biomarker
    localization and segmentation with image-level annotation in retinal OCT images", Computers in
    Biology and Medicine 153, 2023, of which only the abstract was available. The guide (the
    authors' teacher) learns the tags by cross-entropy, and to tell slices with any tag from slices
    without one by supervised contrast. The student learns to have the guide's features, in untagged
    slices only. Where their features differ by more than is usual in untagged slices, a slice in
    which the guide finds the tag shows the lesion. All classes have the same map.

    The README of ``experiments/comparators`` lists what is guessed.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterTsskNet(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    normal: Tensor

    def __init__(self, spec: dict[str, Any], **settings: Any) -> None:
        """Build the network.

        Args:
            spec: The data specification.
            **settings: The arguments of :class:`Comparator`.

        Raises:
            InputError: An option is out of range.
        """
        super().__init__(spec, **settings)
        # Of each level: mean and mean square of the difference in untagged slices, and how much
        # both count.
        levels = len(cast(GuidedNetwork, self.network).guide.widths)
        self.register_buffer("normal", torch.zeros(levels, 3))

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make the network. If the guide's weights are fixed, the student is a plain encoder."""
        guide = make_encoder(channels)
        fixed = isinstance(guide, PretrainedEncoder)
        student = UNetEncoder(channels, guide.widths) if fixed else make_encoder(channels)
        return GuidedNetwork(guide, student, len(spec.classes))

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of tags, of the contrast of slices, and of the student."""
        output: GuidedOutput = self.network(seen)
        valid, tagged = batch["valid"], batch["tags"].amax(dim=1) > 0.5
        untagged = valid & ~tagged[:, None, None]
        self._average_normal(output.difference.detach(), untagged)
        every = torch.ones_like(tagged)
        return {
            "classification": classification_loss(output.tag_logits[None], batch["tags"]),
            "contrast": supervised_contrast(output.embedding, tagged, every),
            "imitation": (output.difference.mean(dim=1) * untagged).sum()
            / untagged.sum().clamp_min(1),
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the difference, where the guide finds the tag."""
        output: GuidedOutput = network(seen)
        tags = output.tag_logits.float().sigmoid()
        lesion = unusual(output.difference, self.normal)[:, None]
        return SlicePrediction(lesion * (tags > 0.5)[:, :, None, None], tags)

    @torch.no_grad()
    def _average_normal(self, difference: Tensor, untagged: Tensor) -> None:
        counts = untagged[:, None].float()
        powers = (difference.square(), difference, torch.ones_like(difference))
        sums = torch.stack([(each * counts).sum(dim=(0, 2, 3)) for each in powers], dim=1)
        sums = current_collective(difference.device).sum(sums)
        square, mean, known = (sums / sums[:, 2:].clamp_min(1)).unbind(dim=1)
        present = torch.stack((mean, square, known), dim=1)
        self.normal.lerp_(present, (1 - NORMAL_DECAY) * known.amax())


def level_difference(guide: list[Tensor], student: list[Tensor], size: torch.Size) -> Tensor:
    """Return the mean squared difference of the features of both, of each level.

    Example:
        >>> one, other = torch.tensor([[[[1.0]], [[0.0]]]]), torch.tensor([[[[0.0]], [[3.0]]]])
        >>> level_difference([one, one], [one, other], torch.Size((1, 2)))  # (1 + 9) / 2
        tensor([[[[0., 0.]],
        <BLANKLINE>
                 [[5., 5.]]]])

    Args:
        guide: Features of each level, [B, D, h, w].
        student: Likewise, perhaps of another resolution.
        size: Height and width of the slices.

    Returns:
        [B, L, H, W], at least 0.
    """
    maps = []
    for own, copied in zip(guide, student, strict=True):
        copied = F.interpolate(copied.float(), own.shape[-2:], mode="bilinear")
        square = (own.float() - copied).square().mean(dim=1, keepdim=True)
        maps.append(F.interpolate(square, size, mode="bilinear"))
    return torch.cat(maps, dim=1)


def unusual(difference: Tensor, normal: Tensor) -> Tensor:
    """Return how probable it is that a difference is not that of an untagged slice.

    Example:
        >>> normal = torch.tensor([[0.3, 0.1, 1.0]])  # mean 0.3, deviation 0.1
        >>> unusual(torch.tensor([[[[0.3, 0.5]]]]), normal).round(decimals=2)
        tensor([[[0.1200, 0.5000]]])

    Args:
        difference: Of each level, [B, L, H, W].
        normal: Of each level, weighted mean and mean square of differences in untagged slices, and
            their weight, [L, 3].

    Returns:
        [B, H, W] in [0, 1]: one half where differences are on average ``LESION_DEVIATIONS`` above
        the mean of their level; all 0 if nothing is known.
    """
    weight = normal[:, 2:].clamp_min(1e-6)
    mean, square = (normal[:, :2] / weight).view(-1, 2, 1, 1).unbind(dim=1)
    deviation = (square - mean.square()).clamp_min(1e-8).sqrt()
    score = ((difference - mean) / deviation).mean(dim=1)
    return torch.sigmoid(score - LESION_DEVIATIONS) * (normal[:, 2].amin() > 0)
