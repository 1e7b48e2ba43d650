"""After attention accumulation and pixel contrast: maps of all epochs teach a map of pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.base import Comparator, MakeEncoder, map_head
from wsseg.comparators.contrast import draw_pixels, supervised_contrast
from wsseg.comparators.explanations import by_slice_maximum
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import CamOutput
from wsseg.models.losses import classification_loss
from wsseg.models.network_input import slice_input
from wsseg.models.pixel_network import build_cam_network
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.targets import IGNORE, limited_by, to_targets

# All of these are guesses: the abstract names no value.
ATTENTION_SHARE = 0.4  # of the logit that comes from where the class is most visible
SURELY, HARDLY = 0.5, 0.1  # of a map's maximum: pixels above belong to the class, below do not
CONTRASTED_PIXELS = 128  # of each class, and of what is none, in a batch
CONTRAST_WEIGHT, ENERGY_WEIGHT = 0.1, 0.1
ENERGY_WIDTH = 0.5  # standard deviations of intensity, by which neighbours look alike
NEIGHBOURS = ((0, 1), (1, 0), (1, 1), (1, -1), (0, 4), (4, 0), (4, 4), (4, -4))


class AccumulationNetwork(nn.Module):
    """A CAM network with a second head, whose map explains the tags."""

    def __init__(self, encoder: Any, num_classes: int) -> None:
        """Put both heads on an encoder.

        Args:
            encoder: Any encoder.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.pixels = build_cam_network(encoder, num_classes)
        self.attention = nn.Conv2d(map_head(self.pixels).in_channels, num_classes, 1)

    def forward(self, image: Tensor, valid: Tensor) -> tuple[CamOutput, Tensor]:
        """Return the outputs of the CAM network, and logits of the attention [B, C, H, W]."""
        output: CamOutput = self.pixels(image, valid)
        return output, self.attention(output.features)


class AfterAccumulation(Comparator):
    """Attention of all epochs, accumulated, teaches a map of pixels with contrast.

    After Y. Han, L. Cheng, G. Huang et al., "Weakly supervised semantic segmentation of
    histological tissue via attention accumulation and pixel-level contrast learning", Physics in
    Medicine & Biology 68(4), 2023, of which only the abstract was available. A tag is the mean of a
    map of logits and, as residual attention, its mean where the class is most visible (K. Zhu,
    J. Wu, ICCV 2021). The maps that each epoch makes of a training slice are laid over each other.
    Where the sum is high or low, pixels are labelled. A second map learns these labels by
    cross-entropy, by contrast of the features of labelled pixels, and by an energy that is high
    where neighbours look alike and are told apart. The second map predicts.

    The README of ``experiments/comparators`` lists what is guessed. Of several processes, each lays
    over each other what it has seen itself; a resumed training starts again with that.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterAccumulation(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    def __init__(self, spec: dict[str, Any], **settings: Any) -> None:
        """Build the network.

        Args:
            spec: The data specification.
            **settings: The arguments of :class:`Comparator`.

        Raises:
            InputError: An option is out of range.
        """
        super().__init__(spec, **settings)
        self.accumulated: dict[int, tuple[Tensor, int]] = {}

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make the network; see :meth:`Comparator.build_network`."""
        return AccumulationNetwork(make_encoder(channels), len(spec.classes))

    def augment(self, batch: Batch) -> Batch:
        """Lay the present attention over that of earlier epochs; labels move with the slices."""
        image, valid, tags = batch["image"], batch["valid"], batch["tags"]
        with torch.no_grad():
            _, attention = self.teacher.module(slice_input(image, valid, self.symmetric), valid)
            maps = by_slice_maximum(attention.float().relu() * valid[:, None])
            total = self._accumulate(maps, batch["index"].tolist())
            labelled: Batch = {**batch, "target": pixel_labels(total, valid, tags)}
        return super().augment(labelled)

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of tags, of labelled pixels, of their contrast, and the energy."""
        valid, tags = batch["valid"], batch["tags"]
        output, attention = self.network(seen, valid)
        target = batch["target"]
        logits = residual_attention(attention, valid, ATTENTION_SHARE)
        energy = neighbour_energy(torch.sigmoid(output.cam), batch["image"], valid)
        return {
            "classification": classification_loss(logits[None], tags),
            "pixels": balanced_entropy(output.cam, target),
            "contrast": CONTRAST_WEIGHT * pixel_contrast(output.features, target),
            "energy": ENERGY_WEIGHT * energy,
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the map of pixels, and tags by the attention."""
        output, attention = network(seen, valid)
        tags = residual_attention(attention, valid, ATTENTION_SHARE).sigmoid()
        return SlicePrediction(torch.sigmoid(output.cam), tags)

    def _accumulate(self, maps: Tensor, index: list[int]) -> Tensor:
        """Return the mean of these maps and of all earlier ones of the same slices."""
        for number, each in zip(index, maps.cpu(), strict=True):
            mean, times = self.accumulated.get(number, (torch.zeros_like(each).half(), 0))
            mean = (mean.float() * times + each) / (times + 1)
            self.accumulated[number] = mean.half(), times + 1
        means = torch.stack([self.accumulated[number][0].float() for number in index])
        return means.to(maps.device)


def residual_attention(logits: Tensor, valid: Tensor, share: float) -> Tensor:
    """Pool a map by its mean, and by its mean weighted by its own softmax.

    Example:
        >>> valid = torch.ones(1, 1, 2, dtype=torch.bool)
        >>> residual_attention(torch.tensor([[[[0.0, 20.0]]]]), valid, 0.5)  # 10 + 0.5 * 20
        tensor([[20.]])

    Args:
        logits: [B, C, H, W].
        valid: [B, H, W] bool.
        share: Weight of the second mean.

    Returns:
        [B, C]; 0 for a slice without valid pixels.
    """
    counts = valid[:, None].flatten(2)
    flat = logits.float().flatten(2)
    mean = (flat * counts).sum(dim=2) / counts.sum(dim=2).clamp_min(1)
    weights = flat.masked_fill(~counts, -1e4).softmax(dim=2) * counts
    return mean + share * (weights * flat).sum(dim=2)


def pixel_labels(maps: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
    """Label pixels of which maps are sure.

    Example:
        >>> maps, valid = torch.tensor([[[[0.05, 0.4, 2.0]]]]), torch.ones(1, 1, 3).bool()
        >>> pixel_labels(maps, valid, tags=torch.ones(1, 1))
        tensor([[[[ 0., -1.,  1.]]]])

    Args:
        maps: Attention, [B, C, H, W].
        valid: [B, H, W] bool.
        tags: [B, C], 0 or 1.

    Returns:
        [B, C, H, W]: 1, 0, or -1 where nothing is said. In untagged slices all valid pixels are 0;
        a tagged slice whose map is 0 everywhere says nothing.
    """
    shown = by_slice_maximum(maps.float().relu() * valid[:, None])
    blank = shown.amax(dim=(2, 3), keepdim=True) == 0
    label = to_targets(limited_by(tags, shown.masked_fill(blank, IGNORE)), HARDLY, SURELY)
    return label.masked_fill(~valid[:, None], IGNORE)


def balanced_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of labelled pixels; both labels weigh the same in the whole batch.

    Args:
        logits: [B, C, H, W].
        target: [B, C, H, W]: 1, 0, or -1 to ignore.
    """
    entropy = F.binary_cross_entropy_with_logits(logits, target.clamp(0, 1), reduction="none")
    sides = [(target == value).to(entropy.dtype) for value in (0, 1)]
    means = [(entropy * side).sum() / side.sum().clamp_min(1) for side in sides]
    return torch.stack(means).mean()


def pixel_contrast(features: Tensor, target: Tensor) -> Tensor:
    """Return the contrast of drawn pixels that belong to a class and that do not, mean of classes.

    Args:
        features: [B, D, H, W].
        target: [B, C, H, W]: 1, 0, or -1 to ignore.
    """
    losses = []
    for label in target.unbind(dim=1):
        sides = [draw_pixels(features, label == value, CONTRASTED_PIXELS) for value in (0, 1)]
        points, counts = (torch.cat(each) for each in zip(*sides, strict=True))
        belongs = torch.arange(len(points), device=label.device) >= len(sides[0][0])
        losses.append(supervised_contrast(points, belongs, counts))
    return torch.stack(losses).mean()


def neighbour_energy(probability: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Return how much neighbours that look alike are told apart.

    Args:
        probability: [B, C, H, W].
        image: [B, M, H, W].
        valid: [B, H, W] bool.

    Returns:
        The mean over classes and pairs of valid neighbours of w (p(1 - q) + q(1 - p)), where w is a
        Gaussian of the mean squared difference of their intensities.
    """
    total, count = probability.new_zeros(()), probability.new_zeros(())
    for down, right in NEIGHBOURS:
        p, q = _pairs(probability, down, right)
        one, other = _pairs(image, down, right)
        both = torch.logical_and(*_pairs(valid[:, None], down, right))
        alike = torch.exp(-(one - other).square().mean(1, keepdim=True) / (2 * ENERGY_WIDTH**2))
        total = total + ((p * (1 - q) + q * (1 - p)) * alike * both).sum()
        count = count + both.sum() * probability.shape[1]
    return total / count.clamp_min(1)


def _pairs(maps: Tensor, down: int, right: int) -> tuple[Tensor, Tensor]:
    """Return maps [B, C, h, w] of all pixels that have a neighbour there, and of these."""
    height, width = maps.shape[-2:]
    rows, columns = slice(0, max(0, height - down)), slice(max(0, -right), width - max(0, right))
    moved = slice(max(0, right), width - max(0, -right))
    return maps[..., rows, columns], maps[..., down:, moved]
