"""The clusters that a refresh has learned, which map embeddings to relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings, pixels_of
from wsseg.clustering.kmeans import assign
from wsseg.clustering.relevance import relevance_map
from wsseg.clustering.views import View, column_maps
from wsseg.utils.errors import InputError


@dataclass(frozen=True)
class Clusters:
    """R clusterings of K clusters with their scores.

    Attributes:
        views: The views that some clusterings see beside the features.
        learned: Tensor that each view has learned from untagged slices.
        mean: Mean of the sampled columns (features, then those of the views), [D + E].
        scale: Divisor of the columns: their standard deviation over their weight, [D + E].
        centroids: Of columns standardised by these, [R, K, D + E]; 0 in columns that a clustering
            does not see.
        scores: Score of every cluster for every class, [R, K, C] in [0, 1].
        votes: What a cluster adds to the relevance of its pixels, [R, K, C].
        likeness: How much a cluster looks like each class (purity times focus), [R, K, C] in
            [0, 1]; for :meth:`View.trust`.
        smoothing: Width in pixels of the Gaussian that smooths maps.

    Example:
        >>> import torch
        >>> table = torch.tensor([[[0.0], [1.0]]])  # only the second of two clusters is relevant
        >>> clusters = Clusters(
        ...     views=(), learned=(), mean=torch.zeros(1), scale=torch.ones(1), centroids=table,
        ...     scores=table, votes=table, likeness=table, smoothing=0.0,
        ... )
        >>> clusters.assign(torch.tensor([[0.2], [0.9]]))  # two pixels of one feature
        tensor([[0], [1]])
    """

    views: tuple[View, ...]
    learned: tuple[Tensor, ...]
    mean: Tensor
    scale: Tensor
    centroids: Tensor
    scores: Tensor
    votes: Tensor
    likeness: Tensor
    smoothing: float

    @property
    def needs_activation(self) -> bool:
        """Whether slices must come with their class activation: clusters have been scored by it."""
        return False

    @property
    def has_degrees(self) -> bool:
        """Whether pixels are more or less relevant: clusters have scores."""
        return True

    def assign(self, columns: Tensor) -> Tensor:
        """Return the cluster of each pixel in every clustering, [n, R] int64.

        Args:
            columns: Features of the pixels, then the columns of the views, [n, D + E] float32.
        """
        # A process without slices of the evidence has the clusters on the CPU.
        mean, scale, centroids = (
            part.to(columns.device) for part in (self.mean, self.scale, self.centroids)
        )
        return assign((columns - mean) / scale, centroids)

    def labels(self, slices: PixelEmbeddings) -> Tensor:
        """Return the cluster of each valid pixel, in raster order, [n, R] int64."""
        place = slices.valid.nonzero()
        return self.assign(pixels_of(column_maps(slices, self.views, self.learned), place))

    def label_maps(self, slices: PixelEmbeddings) -> Tensor:
        """Return the cluster of each pixel, [B, R, h, w] int64; -1 at pixels that are not valid."""
        labels = self.labels(slices)
        maps = labels.new_full((*slices.valid.shape, labels.shape[1]), -1)
        maps[slices.valid.to(labels.device)] = labels
        return maps.permute(0, 3, 1, 2)

    @property
    def confidence(self) -> Tensor:
        """The score of the best cluster of each class, the mean over the clusterings, [C]."""
        return self.scores.amax(dim=1).mean(dim=0)

    def relevance(self, slices: PixelEmbeddings) -> Tensor:
        """Return the relevance of all pixels; slices do not affect each other.

        Args:
            slices: A batch; no activation is needed.

        Returns:
            [B, C, h, w]: see :func:`~wsseg.clustering.relevance.relevance_map`.
        """
        labels = self.labels(slices)
        return relevance_map(
            labels,
            slices.valid.to(labels.device),
            slices.tags.to(labels.device),
            self.votes,
            self.likeness,
            self.views,
            self.smoothing,
        )

    def cpu(self) -> Clusters:
        """Return the clusters with all tensors on the CPU."""
        changed: dict[str, Any] = {
            name: value.cpu() for name, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **changed)

    def state_dict(self) -> dict[str, Any]:
        """Return all fields as tensors, numbers and names, for a checkpoint."""
        return {**vars(self), "views": view_names(self.views), "learned": list(self.learned)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], views: Sequence[View]) -> Clusters:
        """Make clusters from the return value of :meth:`state_dict`.

        Args:
            state: That value, from a checkpoint.
            views: The views that the clusters were made with.

        Raises:
            InputError: The clusters were made with other views.
        """
        made, given = list(state["views"]), view_names(views)
        if made != given:
            raise InputError(
                "the clusters of the checkpoint were made with the views "
                f"{', '.join(made) or 'none'}, but {', '.join(given) or 'none'} are given; give "
                "the same views, or train from the beginning"
            )
        return cls(**{**state, "views": tuple(views), "learned": tuple(state["learned"])})


def view_names(views: Sequence[View]) -> list[str]:
    """Return what views are recognised by: their class, of dataclasses with the values."""
    return [repr(view) if is_dataclass(view) else type(view).__name__ for view in views]
