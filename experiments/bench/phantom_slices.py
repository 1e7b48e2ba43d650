"""A batch of phantom slices: how long k-means takes depends on what it clusters."""

from __future__ import annotations

import numpy as np
import torch

from wsseg.data.slicing import mask_to_slices, volume_to_slices
from wsseg.data.spec import Batch, DataSpec
from wsseg.phantom.patient import make_patient

BRAIN = 8000  # pixels of a slice that shows more than the top of a brain


def phantom_batch(spec: DataSpec, count: int) -> Batch:
    """Return slices of one patient at 1 mm, evenly spaced, tagged and untagged in turn.

    The cluster map is the lesion: what it shows makes no difference to the time of a step.

    Args:
        spec: Of the slices, with the modalities of the phantom.
        count: Slices.
    """
    patient = make_patient(seed=0, number=0, spacing=1.0)
    slices = volume_to_slices(list(patient.images.values()), patient.affine, spec)
    lesion = mask_to_slices((patient.labels > 0)[None], slices.geometry)
    brain = np.greater(slices.valid.sum(axis=(1, 2)), BRAIN)
    chosen = _in_turn(brain, np.asarray(lesion.any(axis=(1, 2, 3))), count)
    image, valid, target = (
        torch.from_numpy(each[chosen]) for each in (slices.image, slices.valid, lesion)
    )
    number = torch.arange(count)
    return Batch(
        image=image,
        tags=target.any(dim=3).any(dim=2).float(),
        valid=valid,
        index=number,
        case=torch.zeros_like(number),
        level=number % 8,
        cluster_map=target.float().masked_fill(~valid[:, None], -1.0),
    )


def _in_turn(brain: np.ndarray, tagged: np.ndarray, count: int) -> list[int]:
    """Choose slices, every second one of them tagged."""
    kinds = [np.flatnonzero(brain & tagged), np.flatnonzero(brain & ~tagged)]
    spread = [
        kind[np.linspace(0, len(kind) - 1, len(range(start, count, 2))).round().astype(int)]
        for start, kind in enumerate(kinds)
    ]
    return [int(spread[place % 2][place // 2]) for place in range(count)]
