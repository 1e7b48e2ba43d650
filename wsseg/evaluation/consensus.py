"""Which run agrees best with other good ones: a choice among runs that needs no mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from wsseg.checkpoints import CONFIG_FILE, LAST_CHECKPOINT
from wsseg.checkpoints.loading import load_module
from wsseg.data.dataset import SliceDataset
from wsseg.data.store import SliceStore
from wsseg.utils.documents import read_document
from wsseg.utils.sampling import evenly_spaced

FEWEST_RUNS = 3  # that count as good, so that each is compared with at least two
MOST_SLICES = 512  # for each run; bounds memory
PREDICTED_TOGETHER = 32


def consensus(probabilities: Sequence[Tensor], agreement: Sequence[float]) -> list[float]:
    """Compare each run with the mean of the others among the better half of all runs.

    Faults differ from run to run and cancel in the mean, which is mostly better than each of them.
    A run is compared with others only, so that none is praised for itself.

    Args:
        probabilities: Of each run, for the same slices, [S, C, H, W].
        agreement: ``val/agreement`` of each run, by which the better half is chosen.

    Returns:
        Of each run the Dice of its masks and those of the mean, the mean over the classes, from 0
        to 1; 0 for a single run.

    Example:
        >>> left, right = torch.tensor([[[[0.9, 0.1]]]]), torch.tensor([[[[0.1, 0.9]]]])
        >>> consensus([left, left, right, left], [0.6, 0.5, 0.1, 0.4])
        [1.0, 1.0, 0.0, 1.0]
    """
    best = sorted(range(len(agreement)), key=lambda run: -agreement[run])
    good = best[: max(FEWEST_RUNS, (len(best) + 1) // 2)]
    scores = []
    for run, probability in enumerate(probabilities):
        others = [other for other in good if other != run]
        if not others:
            scores.append(0.0)
            continue
        mean = torch.stack([probabilities[other].float() for other in others]).mean(dim=0)
        scores.append(_dice(probability > 0.5, mean > 0.5))
    return scores


@torch.no_grad()
def validation_probabilities(run: Path) -> Tensor:
    """Return what the network of a run says of its validation slices, without opening a mask.

    Args:
        run: Folder of the run.

    Returns:
        [S, C, H, W] float16; of many slices some that are evenly spaced.

    Raises:
        InputError: The run or its store cannot be used.
    """
    data = read_document(run / CONFIG_FILE)["data"]
    store = SliceStore(Path(data["root"]))
    slices = SliceDataset(store, store.split(data["fold"])["val"])
    module = load_module(run / LAST_CHECKPOINT)
    parts = evenly_spaced(len(slices), MOST_SLICES).split(PREDICTED_TOGETHER)
    batches = (slices.__getitems__(part.tolist()) for part in parts)
    return torch.cat([module(batch["image"], batch["valid"]).half() for batch in batches])


def _dice(first: Tensor, second: Tensor) -> float:
    both, either = (first & second).sum(dim=(0, 2, 3)), first.sum((0, 2, 3)) + second.sum((0, 2, 3))
    return float((2 * both / either.clamp_min(1)).mean())
