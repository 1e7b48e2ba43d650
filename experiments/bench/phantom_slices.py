"""A batch of phantom slices: how long k-means takes depends on what it clusters."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.data.normalisation import find_valid, zscore
from wsseg.data.spec import Batch
from wsseg.phantom.patient import make_patient

SIZE = 240
BRAIN = 8000  # pixels of a slice that shows more than the top of a brain


def phantom_batch(count: int) -> Batch:
    """Return slices of one patient at 1 mm, evenly spaced, tagged and untagged in turn.

    The cluster map is the lesion: what it shows makes no difference to the time of a step.

    Args:
        count: Slices.
    """
    patient = make_patient(seed=0, number=0, spacing=1.0)
    volume = np.stack(list(patient.images.values())).astype(np.float32).transpose(3, 0, 1, 2)
    valid = find_valid(volume)
    lesion = (patient.labels > 0).transpose(2, 0, 1)
    chosen = _in_turn(valid.sum(axis=(1, 2)) > BRAIN, lesion.any(axis=(1, 2)), count)
    image, inside, target = (
        _fit(torch.from_numpy(each[chosen]).float())
        for each in (zscore(volume, valid), valid[:, None], lesion[:, None])
    )
    number = torch.arange(count)
    return Batch(
        image=image,
        tags=target.amax(dim=(2, 3)),
        valid=inside[:, 0] > 0,
        index=number,
        case=torch.zeros_like(number),
        level=number % 8,
        cluster_map=torch.where(inside > 0, target, -1.0),
    )


def _in_turn(brain: np.ndarray, tagged: np.ndarray, count: int) -> list[int]:
    """Choose slices, every second one of them tagged."""
    kinds = [np.flatnonzero(brain & tagged), np.flatnonzero(brain & ~tagged)]
    spread = [
        kind[np.linspace(0, len(kind) - 1, len(range(start, count, 2))).round().astype(int)]
        for start, kind in enumerate(kinds)
    ]
    return [int(spread[place % 2][place // 2]) for place in range(count)]


def _fit(planes: Tensor) -> Tensor:
    """Put zeros around [B, C, h, w] up to SIZE."""
    height, width = planes.shape[-2:]
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    return F.pad(planes, (left, SIZE - width - left, top, SIZE - height - top))
