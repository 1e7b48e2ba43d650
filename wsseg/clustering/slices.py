"""The training slices: what the data set says of them in advance, and how they are loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset

from wsseg.clustering.samplers import drawn_positions
from wsseg.utils.errors import InputError


@dataclass(frozen=True)
class KnownSlices:
    """What a data set says of its slices before any is loaded.

    Attributes:
        index: Ids of the slices, [N] int64.
        tags: Tags of the slices, [N, C], 0, 1, or NaN where unknown.
        case: The case (one volume or image) of each slice, [N] int64; None if unknown.
        depth: Position of each slice along its case, in pixels, [N]; None if unknown.
        level: Level of each slice in the body, [N] int64; None if unknown.

    Example:
        >>> from types import SimpleNamespace
        >>> dataset = SimpleNamespace(index=torch.arange(3), tags=torch.ones(3, 1))
        >>> known = KnownSlices.of(dataset, count=3)
        >>> known.tags.shape, known.case
        (torch.Size([3, 1]), None)
    """

    index: Tensor
    tags: Tensor
    case: Tensor | None = None
    depth: Tensor | None = None
    level: Tensor | None = None

    @classmethod
    def of(cls, dataset: Any, count: int) -> KnownSlices | None:
        """Read the attributes of a data set that have the names of the fields of this class.

        Args:
            dataset: The training slices.
            count: Their number. Tensors of another length are ignored: a subset of a data set may
                still have those of the whole.

        Returns:
            None if the data set lacks ``index`` or ``tags``.

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
            content = (
                "NaN or infinite values" if depth.ndim == 1 else f"{tuple(depth.shape)} numbers"
            )
            raise InputError(
                f"the data set's `depth` holds {content}; make it the position of each slice "
                "along its case, in pixels [N], or give it another name"
            )
        return cls(index, tags, case, depth, level)

    def select(self, rows: Tensor) -> KnownSlices:
        """Return what is known of some of the slices.

        Args:
            rows: Positions of these slices, [n] int64.
        """
        parts = (None if value is None else value[rows] for value in vars(self).values())
        return KnownSlices(*parts)  # type: ignore[arg-type]

    def digest(self) -> str:
        """Return a SHA-256 digest of ids and tags, to recognise the same slices in a later run."""
        parts = (self.index.cpu().long(), told(self.tags.cpu()).byte())
        return hashlib.sha256(b"".join(part.numpy().tobytes() for part in parts)).hexdigest()


def told(tags: Tensor) -> Tensor:
    """Return what tags say as numbers that can be compared: 0, 1, and 2 where one is unknown.

    Example:
        >>> told(torch.tensor([0.0, 1.0, torch.nan]))
        tensor([0, 1, 2])
    """
    return torch.where(tags.isnan(), 2, (tags > 0.5).long())


class TrainingSlices:
    """The slices that a training loader can draw, loaded in any order without shuffling.

    An item is a slice; of an iterable data set it is a batch, which is found by reading all before.

    Attributes:
        known: What the data set says of them in advance; None if it says nothing.
        per_item: Most slices of an item.

    Example:
        >>> loader = DataLoader([{"index": n} for n in range(5)], batch_size=2, shuffle=True)
        >>> slices = TrainingSlices(loader)
        >>> [batch["index"].tolist() for batch in slices.batches([0, 1, 4])]
        [[0, 1], [4]]
    """

    def __init__(self, loader: Any) -> None:
        """Use the data set, the batch size and the workers of a training loader, not its order.

        Args:
            loader: The ``DataLoader`` of the training slices: those that its sampler can draw, see
                :func:`~wsseg.clustering.samplers.drawn_positions`.

        Raises:
            InputError: The loader is not one ``DataLoader`` over a data set that has a length or
                can be iterated.
        """
        dataset: Any = getattr(loader, "dataset", None)
        streamed = isinstance(dataset, IterableDataset)
        if not (streamed or hasattr(dataset, "__len__")):
            source = "" if dataset is None else f" over {type(dataset).__name__}"
            raise InputError(
                f"clustering needs one DataLoader over a data set with a length, got "
                f"{type(loader).__name__}{source}; give ClusterReSupervision(dataloader=...) one"
            )
        self._loader = loader
        self._dataset: Dataset[Any] = dataset
        self.known: KnownSlices | None = None
        self.per_item, self._batches = 1, 0
        if streamed:
            self.per_item = _batch_size(loader) or 1
            self._batches = len([0 for _ in self._read(dataset)])
            self._rows: Sequence[int] = range(self._batches)
            return
        self.known = KnownSlices.of(dataset, len(self))
        rows = self._rows = drawn_positions(loader, len(self))
        if len(rows) < len(self):
            self._dataset = Subset(dataset, rows)
            self.known = None if self.known is None else self.known.select(torch.tensor(rows))

    def __len__(self) -> int:
        """Return the number of items: slices, or batches if the data set serves batches."""
        return self._batches if self.streamed else len(cast(Sized, self._dataset))

    @property
    def streamed(self) -> bool:
        """Whether the data set is iterable, so that slices cannot be loaded by their positions."""
        return isinstance(self._dataset, IterableDataset)

    def fingerprint(self, first: int) -> int:
        """Return a hash of the slices, 62 bits, to compare those of several processes.

        Args:
            first: Id of the first slice.
        """
        known = "" if self.known is None else self.known.digest()
        text = f"{list(self._rows)} {first} {known}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 2

    def batches(self, positions: Sequence[int]) -> Iterator[Any]:
        """Load the items at these positions, in batches like those of the training loader.

        Args:
            positions: Positions; those of an iterable data set must ascend.
        """
        if not self.streamed:
            yield from self._read(Subset(self._dataset, positions), workers=len(positions) > 0)
            return
        wanted = iter(positions)
        position = next(wanted, None)
        for number, batch in enumerate(self._read(self._dataset) if positions else ()):
            if number == position:
                yield batch
                position = next(wanted, None)
                if position is None:
                    return

    def _read(self, dataset: Dataset[Any], workers: bool = True) -> DataLoader[Any]:
        """Return a loader like the training loader, without its order."""
        of_workers = ("num_workers", "multiprocessing_context", "prefetch_factor", "timeout")
        return DataLoader(
            dataset,
            batch_size=_batch_size(self._loader),
            collate_fn=self._loader.collate_fn,
            worker_init_fn=self._loader.worker_init_fn,
            pin_memory=self._loader.pin_memory,
            **{name: getattr(self._loader, name) for name in of_workers if workers},
            # Without it, the iterator would draw from the global generator and change the training.
            generator=torch.Generator(),
        )


def _batch_size(loader: DataLoader[Any]) -> int | None:
    """Return the batch size of a loader; None if its data set serves batches."""
    if loader.batch_sampler is None or loader.batch_size is not None:
        return loader.batch_size
    return int(getattr(loader.batch_sampler, "batch_size", 1))  # a batch sampler of the user's
