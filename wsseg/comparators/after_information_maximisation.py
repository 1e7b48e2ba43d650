"""After boundary-aware information maximisation: other embeddings for the clusters of wsseg."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from wsseg.data.spec import Batch
from wsseg.models.cam_module import CamModule
from wsseg.utils.errors import InputError, check_option
from wsseg.utils.global_batch import noise_like

# All of these are guesses: the abstract names no value.
SHARPNESS = 5.0  # of assignments: where all are alike, information has hardly a gradient
VIEW_NOISE = 0.1  # standard deviations of intensity, by which the second view differs
DISPLACEMENTS = ((0, 0), (0, 1), (1, 0), (1, 1), (1, -1))  # from a pixel to its neighbour
BALANCE_WEIGHT, BOUNDARY_WEIGHT = 1.0, 0.5
CORRELATION_WINDOW = 9  # pixels, of the local correlation
LEAST_SHARE_OF_CLUSTER = 1e-8  # so that a logarithm is finite


class AfterInformationMaximisation(CamModule):
    """The first stage of wsseg, whose embeddings maximise information instead of reconstructing.

    After J. Peng, P. Wang, M. Pedersoli, C. Desrosiers, "Boundary-aware information maximization
    for self-supervised medical image segmentation", Medical Image Analysis 94, 2024, of which only
    the abstract was available. Each pixel's embedding is assigned softly to clusters. The
    assignments of neighbouring pixels, in two views of a slice, are to tell as much of each other
    as possible (mutual information); all clusters are to be equally frequent; and borders of
    clusters are to correlate locally with borders of the image. No tag takes part. With
    ``ClusterReSupervision`` the embeddings are clustered as those of ``CamModule`` are.

    The README of ``experiments/comparators`` lists what is guessed.

    Example:
        >>> from wsseg.data.spec import DataSpec
        >>> spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> module = AfterInformationMaximisation(spec.to_dict(), widths=(8, 16), n_assigned=4)
        >>> module(torch.randn(4, 2, 32, 32), torch.ones(4, 32, 32, dtype=torch.bool)).shape
        torch.Size([4, 1, 32, 32])
    """

    def __init__(self, spec: dict[str, Any], n_assigned: int = 20, **settings: Any) -> None:
        """Build the networks.

        Args:
            spec: The data specification.
            n_assigned: Number of clusters that the embeddings are assigned to in training.
            **settings: The arguments of ``CamModule``.

        Raises:
            InputError: An option is out of range, or no embeddings are trained.
        """
        check_option(n_assigned >= 2, "model.n_assigned", n_assigned, "at least 2")
        super().__init__(spec, **settings)
        if self.reconstruction is None:
            raise InputError(
                "information maximisation trains embeddings, but those of pictures are of a "
                "pretrained encoder, and --model.reconstruction_weight 0 has none; use scans, or "
                "--model.encoder unet and a weight above 0"
            )
        self.assignment = nn.Conv2d(self.reconstruction.head.in_channels, n_assigned, 1)

    def embedding_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Return the losses of the embeddings, which see no tag."""
        image, valid = batch["image"], batch["valid"]
        noisy = image + VIEW_NOISE * noise_like(image) * valid[:, None]
        one, other = (self._assign(each) for each in (image, noisy))
        information = [
            neighbour_information(one, other, valid, *displacement)
            for displacement in DISPLACEMENTS
        ]
        return {
            "information": -torch.stack(information).mean(),
            "balance": BALANCE_WEIGHT * imbalance(one, valid),
            "boundary": BOUNDARY_WEIGHT * boundary_loss(one, image),
        }

    def _assign(self, image: Tensor) -> Tensor:
        assert self.reconstruction is not None
        assigned: Tensor = self.assignment(self.reconstruction.embed(image))
        return (SHARPNESS * assigned.float()).softmax(dim=1)


def neighbour_information(
    one: Tensor, other: Tensor, valid: Tensor, down: int, right: int
) -> Tensor:
    """Return the mutual information of clusters of pixels and of their neighbours, in nats.

    Example:
        >>> sides = torch.eye(2)[:, None, :, None].expand(2, 1, 2, 3).movedim(2, 1)
        >>> valid = torch.ones(2, 1, 3, dtype=torch.bool)
        >>> neighbour_information(sides, sides, valid, 0, 1)  # ln 2
        tensor(0.6931)

    Args:
        one: Soft assignments to clusters, [B, K, H, W].
        other: Those in another view.
        valid: [B, H, W] bool; both pixels must be.
        down: Rows from a pixel to its neighbour, at least 0.
        right: Columns to it.
    """
    height, width = valid.shape[-2:]
    here = slice(0, height - down), slice(max(0, -right), width - max(0, right))
    there = slice(down, height), slice(max(0, right), width - max(0, -right))
    both = valid[:, *here] & valid[:, *there]
    joint = torch.einsum("bkhw,blhw->kl", one[:, :, *here] * both[:, None], other[:, :, *there])
    joint = (joint + joint.T) / (2 * both.sum().clamp_min(1))
    joint = joint.clamp_min(LEAST_SHARE_OF_CLUSTER)
    marginal = joint.sum(dim=1).log()
    return (joint * (joint.log() - marginal[:, None] - marginal[None])).sum()


def imbalance(assigned: Tensor, valid: Tensor) -> Tensor:
    """Return the divergence of the frequency of clusters from equal frequencies; 0 if they are.

    Args:
        assigned: Soft assignments to clusters, [B, K, H, W].
        valid: [B, H, W] bool.
    """
    counts = valid[:, None].to(assigned.dtype)
    share = (assigned * counts).sum(dim=(0, 2, 3)) / counts.sum().clamp_min(1)
    share = share.clamp_min(LEAST_SHARE_OF_CLUSTER)
    return (share * (share * assigned.shape[1]).log()).sum()


def boundary_loss(assigned: Tensor, image: Tensor) -> Tensor:
    """Return one less the squared local correlation of borders of clusters and of the image.

    Args:
        assigned: Soft assignments to clusters, [B, K, H, W].
        image: [B, M, H, W].
    """
    from monai.losses.image_dissimilarity import LocalNormalizedCrossCorrelationLoss

    correlation = LocalNormalizedCrossCorrelationLoss(
        spatial_dims=2, kernel_size=CORRELATION_WINDOW
    )
    return 1 + correlation(edges(assigned), edges(image.float()))  # type: ignore[no-any-return]


def edges(maps: Tensor) -> Tensor:
    """Return how steeply maps change at each pixel, over all channels.

    Example:
        >>> steep = edges(torch.tensor([[[[0.0, 0.0, 1.0]]]]))
        >>> [round(float(each), 2) for each in steep.flatten()]  # half of what neighbours differ by
        [0.0, 0.5, 1.0]

    Args:
        maps: [B, K, H, W].

    Returns:
        [B, 1, H, W].
    """
    steps = [
        torch.gradient(maps, dim=axis)[0] if maps.shape[axis] > 1 else torch.zeros_like(maps)
        for axis in (2, 3)
    ]
    square = torch.stack(steps).square().sum(dim=0).sum(dim=1, keepdim=True)
    return (square + 1e-6).sqrt()  # the root of 0 has no gradient
