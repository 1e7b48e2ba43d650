"""What a refresh has learned, and how it turns embeddings into maps of relevance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings, pixels_of
from wsseg.clustering.kmeans import assign
from wsseg.clustering.relevance import relevance_map
from wsseg.clustering.views import View, column_maps
from wsseg.utils.errors import InputError


@dataclass(frozen=True)
class Clusters:
    """R clusterings of K clusters, and what is known of the clusters.

    Attributes:
        views: What clusterings see beside the features.
        learned: What each view has learned from untagged slices.
        mean: Mean of the sampled columns (features, then those of the views), [D + E].
        std: What columns are divided by: their standard deviation by their weight, [D + E].
        centroids: In units of these, [R, K, D + E]; 0 in columns that a clustering does not see.
        scores: What the scorer said of every cluster and class, [R, K, C] in [0, 1].
        votes: What a cluster adds to the relevance of its pixels, [R, K, C].
        likeness: How much a cluster looks like each class, however uncertain, [R, K, C] in [0, 1].
        smoothing: Width in pixels of the Gaussian that smooths maps.
    """

    views: tuple[View, ...]
    learned: tuple[Tensor, ...]
    mean: Tensor
    std: Tensor
    centroids: Tensor
    scores: Tensor
    votes: Tensor
    likeness: Tensor
    smoothing: float

    def assign(self, columns: Tensor) -> Tensor:
        """Return the cluster of pixels in every clustering, [n, R] int64.

        Args:
            columns: Their features and what views show of them, [n, D + E] float32.
        """
        # They may lie elsewhere: a process that had no part in the sample has them on the CPU.
        mean, std, centroids = (
            each.to(columns.device) for each in (self.mean, self.std, self.centroids)
        )
        return assign((columns - mean) / std, centroids)

    def relevance(self, slices: PixelEmbeddings) -> Tensor:
        """Return the relevance of all pixels, each slice on its own.

        Args:
            slices: A batch; no activation is needed.

        Returns:
            [B, C, h, w] in [0, 1], ``IGNORE`` outside ``valid``.
        """
        place = slices.valid.nonzero()
        labels = self.assign(pixels_of(column_maps(slices, self.views, self.learned), place))
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
        """Return all of this as tensors, numbers and names, for a checkpoint."""
        return {**vars(self), "views": view_names(self.views), "learned": list(self.learned)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], views: Sequence[View]) -> Clusters:
        """Rebuild what :meth:`state_dict` returned.

        Args:
            state: The content of a checkpoint.
            views: The views that the clusters were made with.

        Raises:
            InputError: They were made with other views.
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
    """Return the names of the views' classes."""
    return [type(view).__name__ for view in views]
