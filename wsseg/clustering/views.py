"""Views: extra columns of a pixel that some clusterings see beside its features."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from wsseg.clustering.embeddings import PixelEmbeddings
from wsseg.utils.distributed import Collective
from wsseg.utils.errors import InputError


class View(ABC):
    """Extra columns of pixels; a plug-in of :class:`ClusterReSupervision`.

    Most views need only :meth:`columns`. A view for an organ that has the same position in all
    images::

        class Height(View):  # how far down in the image a pixel lies, from 0 to 1
            share = 0.1

            def columns(self, slices, learned):
                count, height, width = slices.valid.shape
                rows = torch.linspace(0, 1, height, device=slices.valid.device)
                return rows[:, None].expand(count, 1, height, width)

    Attributes:
        share: Weight of all columns of the view together in k-means, relative to that of all
            features; None gives each column the weight of one feature. All columns are standardised
            before they are weighted.
    """

    share: ClassVar[float | None] = None

    @abstractmethod
    def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
        """Return the columns of all pixels.

        Args:
            slices: A batch; ``features`` may be empty.
            learned: Return value of :meth:`learn`.

        Returns:
            [B, E, h, w].
        """

    def is_seen_by(self, clustering: int) -> bool:
        """Return whether a clustering sees the view; by default every second one does.

        Args:
            clustering: Number of the clustering, from 0.
        """
        return clustering % 2 == 1

    def learn(self, untagged: Iterable[PixelEmbeddings], collective: Collective) -> Tensor:
        """Learn from untagged slices, once, before the first refresh; by default nothing.

        Args:
            untagged: Batches of this process, without features and activation. They may contain
                tagged slices, too, which the view must skip. Read them within
                ``collective.together``, so that an error in one process ends all.
            collective: The processes; all of them call this and must return the same tensor.

        Returns:
            The tensor that :meth:`columns` gets, on the CPU; it is saved in checkpoints.
        """
        return torch.empty(0)

    def trust(self, likeness: Tensor, valid: Tensor) -> Tensor:
        """Return how far clusterings that see the view are trusted; by default fully everywhere.

        Args:
            likeness: How much each pixel looks like each class, by the clusterings that do not see
                the view, [B, C, h, w].
            valid: [B, h, w] bool.

        Returns:
            Factors [B, C, h, w] in [0, 1] for the votes of these clusterings.
        """
        return torch.ones_like(likeness)


def image_of(slices: PixelEmbeddings, view: View) -> Tensor:
    """Return the image that a view needs, [B, M, h, w].

    Raises:
        InputError: The module does not provide it.
    """
    if slices.image is None:
        raise InputError(
            f"{type(view).__name__}: embed_pixels gives no `image`; add it [B, M, h, w] to the "
            "PixelEmbeddings, or leave the view out"
        )
    return slices.image


def check_views(views: Sequence[View]) -> Sequence[View]:
    """Return views if each is an object of a subclass of :class:`View` with a usable share.

    Raises:
        InputError: One is not.
    """
    if not isinstance(views, Sequence):
        raise InputError(f"views: {views!r} is no list; give one, such as [Asymmetry()]")
    for view in views:
        if not isinstance(view, View):
            raise InputError(
                f"views: {view!r} is no view; give a list of objects, such as [Asymmetry()]"
            )
        if view.share is not None and not view.share > 0:
            raise InputError(f"{type(view).__name__}: share {view.share}: must be above 0")
    return views


def learns(view: View) -> bool:
    """Return whether a view learns from untagged slices."""
    return type(view).learn is not View.learn


def limits_trust(view: View) -> bool:
    """Return whether a view limits how far the clusterings that see it are trusted."""
    return type(view).trust is not View.trust


def seen_by(views: Sequence[View], clusterings: int) -> Tensor:
    """Return which views are seen by which clusterings, [V, R] bool.

    Args:
        views: V views.
        clusterings: R.
    """
    table = [[view.is_seen_by(number) for number in range(clusterings)] for view in views]
    return torch.tensor(table, dtype=torch.bool).view(len(views), clusterings)


def column_maps(
    slices: PixelEmbeddings, views: Sequence[View], learned: Sequence[Tensor]
) -> list[Tensor]:
    """Return all columns that pixels are clustered by: features, then those of each view.

    Args:
        slices: A batch.
        views: V views.
        learned: Return value of each view's ``learn``.

    Returns:
        1 + V tensors [B, D, h, w] and [B, E, h, w].

    Raises:
        InputError: A view returned a tensor of another shape.
    """
    maps = [slices.features]
    batch, height, width = slices.valid.shape
    for view, of_view in zip(views, learned, strict=True):
        columns = view.columns(slices, of_view)
        shape = tuple(columns.shape)
        if len(shape) != 4 or (shape[0], *shape[2:]) != (batch, height, width):
            raise InputError(
                f"{type(view).__name__}: columns() returned {shape}; return [B, E, h, w], "
                f"({batch}, E, {height}, {width}) for this batch"
            )
        maps.append(columns)
    return maps


def seen_columns(views: Sequence[View], widths: Sequence[int], clusterings: int) -> Tensor:
    """Return which columns are seen by which clustering, [R, D + E] bool.

    Args:
        views: V views.
        widths: Number of columns of the features, then of each view.
        clusterings: R.
    """
    features = torch.ones(1, clusterings, dtype=torch.bool)
    seen = torch.cat((features, seen_by(views, clusterings))).T
    return seen.repeat_interleave(torch.tensor(widths), dim=1)


def column_weights(views: Sequence[View], widths: Sequence[int]) -> Tensor:
    """Return the factors of the standardised columns in k-means, [D + E].

    Args:
        views: V views.
        widths: Number of columns of the features, then of each view.

    Example:
        >>> from wsseg.clustering import Deviation
        >>> column_weights([Deviation()], [4, 1]).tolist()  # 0.25 x 4 features
        [1.0, 1.0, 1.0, 1.0, 1.0]
    """
    features, *of_views = widths
    weights = [1.0]
    for view, width in zip(views, of_views, strict=True):
        share = view.share
        weights.append(1.0 if share is None else (share * features / max(1, width)) ** 0.5)
    return torch.tensor(weights).repeat_interleave(torch.tensor(widths))
