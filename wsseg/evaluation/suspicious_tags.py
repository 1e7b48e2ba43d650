"""The callback that lists the tags which the data contradict."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsseg.data.datamodule import data_of
from wsseg.data.dataset import SliceDataset
from wsseg.evaluation.confident_learning import CONTRADICTED, Values, doubts, separation
from wsseg.utils.distributed import current_collective
from wsseg.utils.files import write_table

SUSPICIOUS_FILE = "suspicious_tags.csv"


class SuspiciousTag(NamedTuple):
    """A tag that the data contradict; a row of the file.

    Attributes:
        case: Id of the case.
        slice: Number of the slice in its volume, as in tables of tags; 0 of a picture.
        class_name: Name of the class.
        tag: The tag, 0 or 1.
        probability: That the slice has the tag, see :func:`probabilities`.
        doubt: See :func:`~wsseg.evaluation.confident_learning.doubts`.
    """

    case: str
    slice: int
    class_name: str
    tag: int
    probability: float
    doubt: float


COLUMNS = ["class" if name == "class_name" else name for name in SuspiciousTag._fields]


class SuspiciousTags(pl.Callback):
    """Writes ``suspicious_tags.csv`` at the end of training: tags that are probably wrong.

    A network that has learnt a wrong tag by heart does not contradict it any more. So what counts
    is what it said of a slice in every epoch just before it learnt from that slice, on average over
    all epochs, as in Pleiss et al., "Identifying mislabeled data using the area under the margin
    ranking", NeurIPS 2020. This costs no time. The slices beside it are asked, too, where that
    tells tags better. Confident learning then says which tags are contradicted.

    Modules that say nothing of tags while they train, such as the second stage, get no file.
    Batches must be those of a slice store.
    """

    def __init__(self) -> None:
        """Start without slices."""
        super().__init__()
        self._sums: Tensor | None = None  # by id of a slice: how often it was seen, and sums
        self._of_epoch: Tensor | None = None  # the same, of this epoch and process

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Add what the network said of the slices of a batch."""
        said: Tensor | None = getattr(pl_module, "said_of_tags", None)
        if said is None:
            return
        if self._of_epoch is None:
            ids = 1 + int(training_slices(trainer).index.max())
            self._of_epoch = torch.zeros(ids, 1 + said.shape[1], device=said.device)
        seen = torch.cat((torch.ones_like(said[:, :1]), said), dim=1).to(self._of_epoch)
        self._of_epoch.index_add_(0, batch["index"], seen)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Add the epoch of all processes to those before."""
        if self._of_epoch is None:
            return
        added = current_collective(pl_module.device).sum(self._of_epoch).cpu()
        before = self._sums
        if before is not None and before.shape == added.shape:  # else they are of another store
            added = added + before
        self._sums = added
        self._of_epoch = None

    def on_train_end(self, trainer: Any, pl_module: pl.LightningModule) -> None:
        """Write the file, and say how many tags are suspicious."""
        if self._sums is None or not trainer.is_global_zero or trainer.fast_dev_run:
            return
        slices = training_slices(trainer)
        found = suspicious(slices, self._sums, list(data_of(trainer).spec.classes))
        path = write_suspicious(found, Path(trainer.default_root_dir))
        count = f"{len(found)} of {int((~slices.tags.isnan()).sum())}"
        print(f"tags that look wrong: {count}, the most doubtful first in {path}", flush=True)

    def state_dict(self) -> dict[str, Any]:
        """Return the sums of the epochs that have ended."""
        return {"sums": self._sums}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the sums of a checkpoint."""
        self._sums = state_dict["sums"]


def training_slices(trainer: pl.Trainer) -> SliceDataset:
    """Return the training slices of a trainer's data module."""
    slices = data_of(trainer).train_set
    assert slices is not None  # since training has begun
    return slices


def suspicious(slices: SliceDataset, sums: Tensor, classes: Sequence[str]) -> list[SuspiciousTag]:
    """Return the tags that are contradicted, the most doubtful first.

    Args:
        slices: The training slices.
        sums: For each id of a slice how often it was seen, and sums of the probabilities of its
            tags, [ids, 1 + C].
        classes: Names of the classes.
    """
    tags = slices.tags.numpy()
    tagged = tags > 0.5
    seen: Values = sums[slices.index].double().numpy()
    probability = probabilities(seen, slices.case.numpy(), tags)
    found = []
    for c, name in enumerate(classes):
        rows = np.flatnonzero((seen[:, 0] > 0) & ~np.isnan(tags[:, c]))
        doubt = doubts(probability[rows, c], tagged[rows, c])
        listed = doubt >= CONTRADICTED
        for n, value in zip(rows[listed].tolist(), doubt[listed].tolist(), strict=True):
            ((case, row),) = slices.places([n])
            where = (case.id, case.numbers[row], name)
            found.append(SuspiciousTag(*where, int(tagged[n, c]), float(probability[n, c]), value))
    return sorted(found, key=lambda each: -each.doubt)


def probabilities(seen: Values, case: NDArray[np.int64], tags: NDArray[np.floating]) -> Values:
    """Return the probability of each tag, of the slice alone or with those beside it.

    What a slice shows mostly goes on in the next one, so that a wrong tag stands out more clearly
    from the mean over three slices; but not where slices are thick and lesions small. So of both
    that is taken, for each class, which tells the given tags better.

    Args:
        seen: For each slice how often it was seen, and sums of the probabilities, [N, 1 + C].
        case: Case of each slice, [N]; the slices of a case follow each other in order.
        tags: [N, C], 0, 1, or NaN where unknown.

    Returns:
        [N, C]; 0 of slices that were never seen.

    Example:
        >>> said = np.array([[1, 0.9], [1, 0.7], [1, 0.5], [1, 0.1], [1, 0.6], [1, 0.1]])
        >>> case, tags = np.array([0, 0, 0, 1, 1, 1]), np.array([[1.0]] * 3 + [[0.0]] * 3)
        >>> probabilities(said, case, tags).round(2).ravel()
        array([0.8 , 0.7 , 0.6 , 0.35, 0.27, 0.35])
    """
    summed = with_neighbours(seen, case)
    alone, beside = (sums[:, 1:] / sums[:, :1].clip(1) for sums in (seen, summed))
    told = []
    for c, given in enumerate(tags.T):
        rows = (seen[:, 0] > 0) & ~np.isnan(given)
        both = (separation(each[rows, c], given[rows] > 0.5) for each in (beside, alone))
        told.append(next(both) > next(both))
    return np.asarray(np.where(told, beside, alone))


def with_neighbours(sums: Values, case: NDArray[np.int64]) -> Values:
    """Add to each slice those before and after it in its case.

    Args:
        sums: [N, ...].
        case: Case of each slice, [N].

    Example:
        >>> with_neighbours(np.array([[1.0], [2.0], [4.0], [8.0]]), np.array([0, 0, 0, 1])).ravel()
        array([3., 7., 6., 8.])
    """
    total, same = sums.copy(), (case[1:] == case[:-1])[:, None]
    total[1:] += sums[:-1] * same
    total[:-1] += sums[1:] * same
    return total


def write_suspicious(found: Sequence[SuspiciousTag], folder: Path) -> Path:
    """Write ``suspicious_tags.csv``, with a row for each tag.

    Args:
        found: The rows.
        folder: The run folder.
    """
    rows = ((*each[:-2], f"{each.probability:.3f}", f"{each.doubt:.3f}") for each in found)
    return write_table(folder / SUSPICIOUS_FILE, COLUMNS, rows)


def read_suspicious(folder: Path) -> list[SuspiciousTag] | None:
    """Read the ``suspicious_tags.csv`` of a run folder.

    Args:
        folder: The run folder.

    Returns:
        The rows; None if there is no such file, or it holds something else.
    """
    try:
        with (folder / SUSPICIOUS_FILE).open(newline="", encoding="utf-8") as file:
            return [_row(row) for row in csv.DictReader(file)]
    except (OSError, KeyError, ValueError, TypeError, csv.Error):
        return None


def _row(row: Mapping[str, str]) -> SuspiciousTag:
    whole, real = (row["slice"], row["tag"]), (row["probability"], row["doubt"])
    number, tag = map(int, whole)
    return SuspiciousTag(row["case"], number, row["class"], tag, *map(float, real))
