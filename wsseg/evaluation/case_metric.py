"""A torchmetrics metric that scores whole cases from batches of their slices."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from wsseg.data.spec import containers
from wsseg.data.store import CaseSlices
from wsseg.evaluation.metrics import Scores, score
from wsseg.prediction.components import Mask, tidy
from wsseg.prediction.confidence import confidence_of
from wsseg.utils.distributed import current_collective

Refine = Callable[[str, np.ndarray, Mask], Mask]
"""From a case's name, the numbers of slices [S] and their masks [S, C, H, W] to other masks."""


class CaseRow(NamedTuple):
    """The scores of one class in one case.

    ``drawn`` says whether the true mask has any voxel of the class, ``predicted`` whether the
    predicted one has. ``confidence`` is that of
    :func:`~wsseg.prediction.confidence.confidence_of`; None if nothing was predicted, or
    probabilities are not known.
    """

    case: str
    class_name: str
    scores: Scores
    drawn: bool
    predicted: bool
    confidence: float | None = None


class CaseSegmentationMetric(Metric):
    """Scores per case and class.

    Slices come in any order, from any rank, and as often as a distributed sampler likes to repeat
    them: each counts once. They are kept as bits, 2 MB for a BraTS case, and probabilities as
    compressed bytes. Every process has those of all cases in the end, and scores some of these.

    Example:
        >>> tags, numbers = torch.ones(2, 1), torch.arange(2)
        >>> case = CaseSlices("ann", 0, 0, tags, spacing=(1.0, 1.0, 1.0), numbers=(0, 1))
        >>> metric = CaseSegmentationMetric([case], {"tumour": [1]}, distances=False)
        >>> truth = torch.tensor([[[[True, True]]], [[[False, False]]]])
        >>> metric.update(truth.flip(-1) & truth, truth, numbers, torch.zeros(2).long())
        >>> row, = metric.compute()
        >>> row.case, row.class_name, row.scores.dice, row.drawn
        ('ann', 'tumour', 1.0, True)
    """

    full_state_update = False
    index: list[Tensor] | Tensor
    case: list[Tensor] | Tensor
    bits: list[Tensor] | Tensor
    packed: list[Tensor] | Tensor
    length: list[Tensor] | Tensor

    def __init__(
        self,
        cases: Iterable[CaseSlices],
        classes: Mapping[str, Sequence[int]],
        *,
        smallest_component: float = 0.0,
        refine: Refine | None = None,
        distances: bool = True,
    ) -> None:
        """Set what is scored, and how.

        Args:
            cases: Every case of the store, in its order.
            classes: The mask labels that make each class, in channel order.
            smallest_component: Smaller components of predictions are dropped, see
                :func:`~wsseg.prediction.components.large_components`.
            refine: What happens to the predicted masks of a whole case before that.
            distances: Whether to compute surface distances; they are NaN otherwise.
        """
        super().__init__()
        self.cases = list(cases)
        self.classes = list(classes)
        self.smallest_component = smallest_component
        self.refine = refine
        self.distances = distances
        self._inside = containers(classes)
        self.shape: tuple[int, ...] = ()
        for state in ("index", "case", "bits", "packed", "length"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(
        self,
        prediction: Tensor,
        mask: Tensor,
        index: Tensor,
        case: Tensor,
        probability: Tensor | None = None,
    ) -> None:
        """Add the slices of a batch.

        Args:
            prediction: [B, C, H, W] bool.
            mask: [B, C, H, W] bool, the truth.
            index: [B] int64, stable ids of the slices.
            case: [B] int64, positions of their cases in the manifest.
            probability: [B, C, H, W] in [0, 1]; without it rows have no confidence.
        """
        assert isinstance(self.index, list)
        assert isinstance(self.case, list)
        assert isinstance(self.bits, list)
        assert isinstance(self.packed, list)
        assert isinstance(self.length, list)
        self.shape = (2, *mask.shape[1:])
        self.index.append(index.to(self.device))
        self.case.append(case.to(self.device))
        pair = torch.stack([prediction.bool(), mask.bool()], dim=1)
        bits = np.packbits(pair.flatten(1).cpu().numpy(), axis=1)
        self.bits.append(torch.from_numpy(bits).to(self.device))
        parts = [b""] * len(index) if probability is None else pack(probability)
        packed = np.frombuffer(b"".join(parts), np.uint8).copy()
        self.packed.append(torch.from_numpy(packed).to(self.device))
        self.length.append(torch.tensor([len(part) for part in parts], device=self.device))

    def compute(self) -> list[CaseRow]:
        """Return one row per case and class, in manifest order; none before any update."""
        if not len(self.index):
            return []
        index, case, bits, packed, length = (
            dim_zero_cat(state).cpu().numpy()
            for state in (self.index, self.case, self.bits, self.packed, self.length)
        )
        index, first = np.unique(index, return_index=True)
        parts = np.split(packed, np.cumsum(length)[:-1])
        case, bits, parts = case[first], bits[first], [parts[n] for n in first]
        collective = current_collective(self.device)
        mine = np.unique(case)[collective.rank :: collective.size]
        scored = np.zeros((len(mine), len(self.classes), len(Scores._fields) + 3))
        with collective.together("scoring cases"):
            for number, position in enumerate(mine):
                here = np.flatnonzero(case == position)
                probability = unpack([parts[n].tobytes() for n in here], self.shape[1:])
                scored[number] = self._score_case(
                    self.cases[position], index[here], bits[here], probability
                )
        positions, scores = (collective.gather(torch.from_numpy(part)) for part in (mine, scored))
        order = positions.argsort()
        return [
            CaseRow(
                self.cases[position].id,
                name,
                Scores(*each),
                drawn=bool(drawn),
                predicted=bool(found),
                confidence=None if np.isnan(sure) else sure,
            )
            for position, case_scores in zip(
                positions[order].tolist(), scores[order].tolist(), strict=True
            )
            for name, (*each, drawn, found, sure) in zip(self.classes, case_scores, strict=True)
        ]

    def _score_case(
        self,
        case: CaseSlices,
        index: np.ndarray,
        bits: np.ndarray,
        probability: np.ndarray | None,
    ) -> list[tuple[float, ...]]:
        """Return for every class its scores, if it is drawn, if it is predicted, and confidence."""
        count = int(np.prod(self.shape))
        flat = np.unpackbits(bits, axis=1, count=count).astype(bool)
        slices, rows = flat.reshape(len(index), *self.shape), index - case.first_index
        if self.refine is not None:
            slices[:, 0] = self.refine(case.id, rows, slices[:, 0])
        predictions, truths = case.volume(slices, rows).swapaxes(0, 1)
        predictions = tidy(predictions, self.smallest_component, self._inside)
        finished = predictions[np.asarray(case.planes)[rows]]
        return [
            (
                *score(predictions[:, c], truths[:, c], case.spacing, distances=self.distances),
                float(truths[:, c].any()),
                float(predictions[:, c].any()),
                np.nan if probability is None else sureness(probability[:, c], finished[:, c]),
            )
            for c in range(len(self.classes))
        ]


def pack(probability: Tensor) -> list[bytes]:
    """Compress probabilities [B, C, H, W], each slice by itself, in steps of 1/255."""
    steps = (probability.detach().float() * 255).round().to("cpu", torch.uint8).numpy()
    return [zlib.compress(each.tobytes(), level=1) for each in steps]


def unpack(parts: Sequence[bytes], shape: Sequence[int]) -> np.ndarray | None:
    """Return probabilities [n, C, H, W]; None if there are none.

    Example:
        >>> unpack(pack(torch.tensor([[[[0.0, 0.2, 1.0]]]])), (1, 1, 3))
        array([[[[0. , 0.2, 1. ]]]], dtype=float32)
    """
    if not all(parts):
        return None
    steps = np.frombuffer(b"".join(zlib.decompress(part) for part in parts), np.uint8)
    return steps.reshape(len(parts), *shape).astype(np.float32) / 255


def sureness(probability: np.ndarray, mask: Mask) -> float:
    """Return the confidence as a number: NaN without a mask."""
    found = confidence_of(probability, mask)
    return np.nan if found is None else found
