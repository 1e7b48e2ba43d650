"""The authors' recipe as they run it, on their network and on the quickstart's.

`wsseg.comparators.ReferenceCrs`, but clusters are made and judged as in the public code, not by
faiss: the comparator is made to be compared by its results, this to be compared by its time.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.comparators import ReferenceCrs
from wsseg.comparators.paired_maps import PairedHeads
from wsseg.comparators.reference_network import ReferenceOutput
from wsseg.data.spec import DataSpec
from wsseg.models import CamModule
from wsseg.models.cam_network import CamNetwork

# What fast-pytorch-kmeans, which the authors call, does unless it is told otherwise.
ITERATIONS, TOLERANCE = 100, 1e-4


class PublishedCrs(ReferenceCrs):
    """The recipe, with the k-means of the library that it calls and a loss cluster by cluster.

    Attributes:
        iterations: Of every k-means.
        judged: Clusters of every batch that had a loss.
    """

    def __init__(self, spec: dict[str, Any], base_width: int = 64) -> None:
        """Build the authors' network.

        Args:
            spec: The data specification.
            base_width: Channels of its finest level.
        """
        super().__init__(spec, base_width)
        self.iterations: list[int] = []
        self.judged: list[int] = []

    def judge_clusters(self, features: Tensor, cam: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
        """See ``ReferenceCrs``; of one class."""
        k = self.hparams["n_clusters"]
        points = (features * valid[:, None]).movedim(1, -1).flatten(0, 2)
        labels, iterations = library_kmeans(points, k)
        losses = losses_by_cluster(
            cam[:, 0], labels.view(valid.shape), tags[:, 0].long(), self.class_weights[0], k
        )
        self.iterations.append(iterations)
        self.judged.append(len(losses))
        return torch.stack(losses).sum() / (k - 1) if losses else cam.sum() * 0


class PublishedOnQuickstart(PublishedCrs):
    """The recipe on the two networks of the quickstart, with the authors' heads where ours are."""

    @staticmethod
    def build_network(spec: DataSpec, base_width: int) -> nn.Module:  # noqa: ARG004
        """Make the networks, without the input channels of the asymmetry."""
        return QuickstartNetwork(CamModule(spec.to_dict(), symmetry=False))


class QuickstartNetwork(nn.Module):
    """The networks of the quickstart with the outputs of the authors' network."""

    def __init__(self, module: CamModule) -> None:
        """Take the networks.

        Args:
            module: Whose.
        """
        super().__init__()
        assert module.reconstruction is not None
        network = module.network
        assert isinstance(network, CamNetwork)
        self.encoder, self.decoder = network.encoder, network.decoder
        self.reconstruction = module.reconstruction
        widths = self.encoder.widths
        self.heads = PairedHeads([widths[0], widths[-1]], module.num_classes)

    def forward(self, image: Tensor) -> ReferenceOutput:
        """Map slices, [B, M, H, W]; the last modality is the one reconstructed."""
        levels = self.encoder(image)
        maps = self.heads([self.decoder(levels, image.shape[-2:]), levels[-1]], image.shape[-2:])
        embedding = self.reconstruction.embed(image)
        made = self.reconstruction.head(embedding)
        return ReferenceOutput(maps, torch.tanh(made[:, -1]), embedding)


@torch.no_grad()
def library_kmeans(points: Tensor, k: int) -> tuple[Tensor, int]:
    """Cluster by the rule of fast-pytorch-kmeans, from random points.

    In favour of the authors it records no graph, and counts no clusters for the mini-batches that
    they do not use: theirs does both.

    Args:
        points: [n, D].
        k: Number of clusters.

    Returns:
        The cluster of every point [n], and how many iterations that took.
    """
    numbers = torch.arange(k, device=points.device)[:, None]
    centroids = points[torch.randint(len(points), (k,), device=points.device)]
    iterations, shift = 0, torch.inf
    while shift > TOLERANCE and iterations < ITERATIONS:
        iterations += 1
        own, other = points.square().sum(dim=1), centroids.square().sum(dim=1)
        nearest = (2 * points @ centroids.T - own[:, None] - other).argmax(dim=1)
        members = (nearest == numbers).to(points.dtype)
        moved = (members @ points / members.sum(dim=1, keepdim=True)).nan_to_num(nan=0.0)
        shift, centroids = float((moved - centroids).square().sum()), moved
    return nearest, iterations


def losses_by_cluster(
    cam: Tensor, labels: Tensor, tags: Tensor, weights: Tensor, k: int
) -> list[Tensor]:
    """Return the loss of every cluster that votes for the class, as the public code computes it.

    Args:
        cam: Maps of (background, class), [B, 2, H, W].
        labels: Cluster of every pixel, [B, H, W].
        tags: [B], 0 or 1.
        weights: Of (background, class), [2].
        k: Number of clusters.
    """
    losses = []
    for cluster in range(k):
        kept = cam * (labels == cluster)[:, None].to(cam.dtype)
        pooled = kept.mean(dim=(2, 3))
        votes = pooled.argmax(dim=1)
        if not votes.any():
            continue
        relevant = not (votes * (1 - tags)).any()
        wanted, found = torch.full_like(tags, int(relevant)), kept[:, 1].clamp(0, 1)
        missed = F.binary_cross_entropy(found, torch.ones_like(found))
        excess = F.binary_cross_entropy(found, torch.zeros_like(found))
        pixels = (wanted * missed + (1 - wanted) * excess).mean()
        losses.append(pixels + F.cross_entropy(pooled, wanted, weights))
    return losses
