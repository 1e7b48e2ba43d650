"""The training slices: what is known of them, and how they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from wsseg.clustering.samplers import drawn
from wsseg.utils.errors import InputError


@dataclass(frozen=True)
class KnownSlices:
    """What is known of slices before any is read.

    Attributes:
        index: Their ids, [N] int64.
        tags: [N, C], 0 or 1.
        case: The case (volume) that each is of, [N] int64; None if unknown.
        depth: Where each lies along its case, in pixels, [N]; None if unknown.
        level: Level of each in the body, [N] int64; None if unknown.
    """

    index: Tensor
    tags: Tensor
    case: Tensor | None = None
    depth: Tensor | None = None
    level: Tensor | None = None

    @classmethod
    def of(cls, dataset: Any, count: int) -> KnownSlices | None:
        """Return what a data set tells of its slices in tensors named so.

        Args:
            dataset: The training slices.
            count: Their number. A subset of a larger set may still have the tensors of all of it,
                which do not count.

        Returns:
            None if it lacks ``index`` or ``tags``.

        Raises:
            InputError: A tensor has another shape or type, or a depth is not finite.
        """
        index, tags, case, depth, level = (
            value if isinstance(value, Tensor) and value.shape[:1] == (count,) else None
            for value in (getattr(dataset, name, None) for name in cls.__annotations__)
        )
        if index is None or tags is None:
            return None
        if tags.ndim != 2:
            raise InputError(
                f"the data set's `tags` is {tuple(tags.shape)}; make it [N, C], a column for each "
                "class, or give it another name"
            )
        for name, value in {"index": index, "case": case, "level": level}.items():
            if value is not None and (value.ndim != 1 or value.is_floating_point()):
                raise InputError(
                    f"the data set's `{name}` is {tuple(value.shape)} of {value.dtype}; make it "
                    "[N], a whole number for each slice, or give it another name"
                )
        if depth is not None and (depth.ndim != 1 or not bool(torch.isfinite(depth).all())):
            holds = "NaN or infinite values" if depth.ndim == 1 else f"{tuple(depth.shape)} numbers"
            raise InputError(
                f"the data set's `depth` holds {holds}; make it say where slices lie along their "
                "case, in pixels [N], or give it another name"
            )
        return cls(index, tags, case, depth, level)

    def at(self, rows: Tensor) -> KnownSlices:
        """Return what is known of some of the slices.

        Args:
            rows: Their positions, [n] int64.
        """
        told = (None if value is None else value[rows] for value in vars(self).values())
        return KnownSlices(*told)  # type: ignore[arg-type]

    def digest(self) -> str:
        """Return what tells this set of slices from others."""
        parts = (self.index.cpu().long(), (self.tags.cpu() > 0.5).byte())
        return hashlib.sha256(b"".join(each.numpy().tobytes() for each in parts)).hexdigest()


class TrainingSlices:
    """The slices that a training loader may draw, in order and without shuffling.

    Attributes:
        known: What is known of them before any is read; None if the data set does not tell.
    """

    def __init__(self, loader: Any) -> None:
        """Take over a training loader's slices and way of making batches, not its order.

        Args:
            loader: The ``DataLoader`` of the training slices: those of its data set that its
                sampler may draw, see :func:`~wsseg.clustering.samplers.drawn`.

        Raises:
            InputError: The loader is not one ``DataLoader`` over a data set with a length.
        """
        dataset = getattr(loader, "dataset", None)
        if (
            dataset is None
            or isinstance(dataset, IterableDataset)
            or not hasattr(dataset, "__len__")
        ):
            of = "" if dataset is None else f" over {type(dataset).__name__}"
            raise InputError(
                f"clustering needs one DataLoader over a data set with a length, got "
                f"{type(loader).__name__}{of}; give ClusterReSupervision(dataloader=...) one"
            )
        self._loader = loader
        self._dataset: Dataset[Any] = dataset
        self.known = KnownSlices.of(dataset, len(self))
        self._rows = rows = drawn(loader, len(self))
        if len(rows) < len(self):
            self._dataset = Subset(dataset, rows)
            self.known = None if self.known is None else self.known.at(torch.tensor(rows))

    def __len__(self) -> int:
        """Return the number of items that are drawn (slices, unless it serves batches)."""
        return len(cast(Sized, self._dataset))

    def fingerprint(self, first: int) -> int:
        """Return what tells these slices from those of other processes, 62 bits.

        Args:
            first: Id of the first slice.
        """
        known = "" if self.known is None else self.known.digest()
        told = f"{list(self._rows)} {first} {known}"
        return int.from_bytes(hashlib.sha256(told.encode()).digest()[:8]) >> 2

    def batches(self, positions: Sequence[int]) -> Iterator[Any]:
        """Load the slices at these positions, in batches as the training loader makes them."""
        of_workers = ("num_workers", "multiprocessing_context", "prefetch_factor", "timeout")
        loader: DataLoader[Any] = DataLoader(
            Subset(self._dataset, positions),
            batch_size=_batch_size(self._loader),
            collate_fn=self._loader.collate_fn,
            worker_init_fn=self._loader.worker_init_fn,
            pin_memory=self._loader.pin_memory,
            **{name: getattr(self._loader, name) for name in of_workers if len(positions)},
            # Else making the iterator draws from the global generator and changes the training.
            generator=torch.Generator(),
        )
        yield from loader


def _batch_size(loader: DataLoader[Any]) -> int | None:
    """Return the slices per batch of a loader; None if its data set serves batches."""
    if loader.batch_sampler is None or loader.batch_size is not None:
        return loader.batch_size
    return int(getattr(loader.batch_sampler, "batch_size", 1))  # a sampler of the user's own
