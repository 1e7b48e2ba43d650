"""After self-equivariance on compressed histopathology: maps that attention and views refine."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators.base import Comparator, MakeEncoder, map_head
from wsseg.comparators.self_equivariance import distance
from wsseg.comparators.transforms import move, move_valid, random_grid
from wsseg.data.spec import Batch, DataSpec
from wsseg.models.cam_network import CamOutput
from wsseg.models.losses import classification_loss, suppression_loss
from wsseg.models.pixel_network import build_cam_network
from wsseg.models.slice_module import SlicePrediction
from wsseg.utils.global_batch import drawn

# All of these are guesses: the abstract names no value.
KEYS = 16  # channels by which pixels are compared
MASKED_SHARE = 0.2  # of the pixels of a slice, which a branch does not see
EQUIVARIANCE_WEIGHT, CORRELATION_WEIGHT, ENTROPY_WEIGHT = 1.0, 1.0, 0.1
LEAST_PROBABILITY = 1e-4  # so that entropies have finite gradients


class CorrelatingNetwork(nn.Module):
    """A CAM network whose maps are also averaged over all pixels that look alike."""

    def __init__(self, encoder: Any, channels: int, num_classes: int) -> None:
        """Put the network and the comparison of pixels on an encoder.

        Args:
            encoder: Any encoder.
            channels: Number of channels of the images.
            num_classes: Number of tags C.
        """
        super().__init__()
        self.pixels = build_cam_network(encoder, num_classes)
        self.keys = nn.Conv2d(channels + map_head(self.pixels).in_channels, KEYS, 1)

    def forward(self, image: Tensor, valid: Tensor) -> tuple[CamOutput, Tensor]:
        """Return the outputs of the CAM network, and refined probabilities [B, C, H, W]."""
        output: CamOutput = self.pixels(image, valid)
        keys = self.keys(torch.cat((image, output.features.detach()), dim=1))
        return output, correlate(torch.sigmoid(output.cam), keys, valid)


class AfterCompressedEquivariance(Comparator):
    """Maps of two views agree, with each other and with what attention makes of them.

    After P. Chikontwe, H. Jung Sung, J. Jeong, M. Kim, H. Go, S. J. Nam, S. H. Park, "Weakly
    supervised segmentation on neural compressed histopathology with self-equivariant
    regularization", Medical Image Analysis 80, 2022, of which only a summary of the
    abstract was read. A fixed encoder compresses large pictures (``wsseg compress``). Both views of
    a grid, of which one is moved and each lacks other cells, learn the tags; their maps must agree.
    A pixel correlation module averages a map over all pixels by how alike their input and features
    are, and the result must agree with the map of the other view. The entropy of both maps together
    becomes small. The map itself predicts: averages over alike pixels are blurred.

    It also takes slices that were not compressed, whose pixels are then what cells are here. The
    README of ``experiments/comparators`` lists what is guessed.

    Example:
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterCompressedEquivariance(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    @staticmethod
    def build_network(spec: DataSpec, channels: int, make_encoder: MakeEncoder) -> nn.Module:
        """Make the network; see :meth:`Comparator.build_network`."""
        return CorrelatingNetwork(make_encoder(channels), channels, len(spec.classes))

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of tags, of equivariance, of correlation and of entropy."""
        valid, tags = batch["valid"], batch["tags"]
        grid = random_grid(len(seen), (seen.shape[2], seen.shape[3]), seen.device)
        first, second = valid & kept(valid), move_valid(valid, grid)
        second = second & kept(second)
        one, refined = self.network(seen * first[:, None], first)
        other, refined_other = self.network(move(seen, grid) * second[:, None], second)
        branches = ((one, first), (other, second))
        classified = [classification_loss(out.slice_logits, tags) for out, _ in branches]
        suppressed = [suppression_loss(out.cam, inside, tags) for out, inside in branches]
        both = second & move_valid(first, grid)
        moved, there = move(torch.sigmoid(one.cam), grid), torch.sigmoid(other.cam)
        correlated = distance(move(refined, grid), there.detach(), both)
        correlated = correlated + distance(refined_other, moved.detach(), both)
        return {
            "classification": torch.stack(classified).mean(),
            "suppression": torch.stack(suppressed).mean(),
            "equivariance": EQUIVARIANCE_WEIGHT * distance(moved, there, both),
            "correlation": CORRELATION_WEIGHT * correlated / 2,
            "entropy": ENTROPY_WEIGHT * joint_entropy(moved, there, both),
        }

    def predict_with(self, network: nn.Module, seen: Tensor, valid: Tensor) -> SlicePrediction:
        """Predict slices by the CAM of a network."""
        output, _ = network(seen, valid)
        return SlicePrediction(torch.sigmoid(output.cam), output.slice_logits.mean(dim=0).sigmoid())


def kept(valid: Tensor) -> Tensor:
    """Draw which pixels [B, H, W] a branch sees; as many are masked in all slices, on average."""
    return drawn(torch.rand, tuple(valid.shape), device=valid.device) >= MASKED_SHARE


def correlate(maps: Tensor, keys: Tensor, valid: Tensor) -> Tensor:
    """Average maps over all valid pixels, by how alike these are.

    Two pixels are alike by the cosine of the positive and negative parts of their keys, which is
    never negative. Therefore sums over all pairs of pixels are products of two sums over pixels,
    and memory grows with the number of pixels, not with its square.

    Example:
        >>> maps, valid = torch.tensor([[[[1.0, 0.0, 0.5]]]]), torch.ones(1, 1, 3).bool()
        >>> keys = torch.tensor([[[[1.0, 1.0, -1.0]]]])  # the first two are alike
        >>> correlate(maps, keys, valid)
        tensor([[[[0.5000, 0.5000, 0.5000]]]])

    Args:
        maps: [B, C, H, W] in [0, 1].
        keys: [B, K, H, W].
        valid: [B, H, W] bool.

    Returns:
        [B, C, H, W] in [0, 1]; 0 where a pixel is like no valid one.
    """
    sides = F.normalize(torch.cat((keys.relu(), (-keys).relu()), dim=1).float(), dim=1).flatten(2)
    counted = sides * valid.flatten(1)[:, None]
    summed = torch.einsum("bkn,bcn->bkc", counted, maps.float().flatten(2))
    total = torch.einsum("bkn,bk->bn", sides, counted.sum(dim=2))
    found = torch.einsum("bkn,bkc->bcn", sides, summed) / total.clamp_min(1e-6)[:, None]
    return found.view_as(maps)


def joint_entropy(one: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    """Return the entropy of the mean of two maps, which is small where both are sure and agree.

    Example:
        >>> sure, valid = torch.ones(1, 1, 2, 2), torch.ones(1, 2, 2).bool()
        >>> joint_entropy(sure, sure, valid) < 0.01, joint_entropy(sure, 1 - sure, valid)  # ln 2
        (tensor(True), tensor(0.6931))

    Args:
        one: Probabilities, [B, C, H, W].
        other: Of the same pixels.
        valid: [B, H, W] bool.

    Returns:
        The mean over valid pixels and classes, in nats.
    """
    mean = ((one + other).float() / 2).clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    entropy = -(mean * mean.log() + (1 - mean) * (1 - mean).log())
    counts = valid[:, None].expand_as(mean)
    return (entropy * counts).sum() / counts.sum().clamp_min(1)
