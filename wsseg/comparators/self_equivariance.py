"""Self-equivariance, one half of SEAM: the map of a moved slice is the slice's moved map."""

from __future__ import annotations

import torch
from torch import Tensor

from wsseg.comparators.base import Comparator
from wsseg.comparators.transforms import move, move_valid, random_grid
from wsseg.data.spec import Batch
from wsseg.models.cam_network import CamOutput
from wsseg.models.losses import classification_loss, suppression_loss


class SelfEquivariance(Comparator):
    """Plain CAM with the equivariant regularisation of SEAM, and no more of it.

    Y. Wang, J. Zhang, M. Kan, S. Shan, X. Chen, "Self-supervised Equivariant Attention Mechanism
    for Weakly Supervised Semantic Segmentation", CVPR 2020. Both branches learn the tags, and the
    map of the moved slice must equal the moved map. Maps are sigmoids instead of ReLU over maximum,
    so that the fixed threshold of plain CAM holds. This is not SEAM: its pixel correlation module,
    whose refined maps are also what SEAM predicts with, is left out together with the loss on them.
    It works at an eighth of the resolution, where these maps have all of it.

    Example:
        >>> from wsseg.data.spec import DataSpec
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = SelfEquivariance(spec.to_dict(), widths=(8, 16))
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    def losses(self, batch: Batch, seen: Tensor) -> dict[str, Tensor]:
        """Return the losses of plain CAM on slices and moved slices, and their difference."""
        valid, tags = batch["valid"], batch["tags"]
        grid = random_grid(len(seen), (seen.shape[2], seen.shape[3]), seen.device)
        there = move_valid(valid, grid)
        first: CamOutput = self.network(seen, valid)
        second: CamOutput = self.network(move(seen, grid) * there[:, None], there)
        branches = ((first, valid), (second, there))
        classified = [classification_loss(out.slice_logits, tags) for out, _ in branches]
        suppressed = [suppression_loss(out.cam, inside, tags) for out, inside in branches]
        maps = [torch.sigmoid(out.cam) * inside[:, None] for out, inside in branches]
        return {
            "classification": torch.stack(classified).mean(),
            "suppression": torch.stack(suppressed).mean(),
            "equivariance": distance(move(maps[0], grid), maps[1], there),
        }


def distance(one: Tensor, other: Tensor, valid: Tensor) -> Tensor:
    """Return the mean absolute difference of two maps [B, C, H, W] at valid pixels [B, H, W].

    Example:
        >>> valid = torch.ones(1, 8, 8, dtype=torch.bool)
        >>> distance(torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.25), valid)
        tensor(0.2500)
    """
    counts = valid[:, None].expand_as(one)
    return ((one - other).abs() * counts).sum() / counts.sum().clamp_min(1)
