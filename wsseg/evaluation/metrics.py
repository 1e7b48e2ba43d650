"""How well a predicted volume matches the true one, as pure functions of one case.

Distances are MONAI's; what happens with an empty volume is ours, because MONAI returns infinity or
"not a number" there, which no mean survives:

=============  =====  ===========================  ======================
volume empty   Dice   HD95, ASSD                   sensitivity, precision
=============  =====  ===========================  ======================
both           1      0                            1, 1
one of them    0      diagonal of the case's grid  0, 0
=============  =====  ===========================  ======================

No distance within the grid is longer than its diagonal, so predicting nothing never pays.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Volume = NDArray[np.bool_]

METRICS = ("dice", "hd95", "assd", "sensitivity", "precision")
"""Names of the measures, in the order of every table.

The distances ``hd95`` and ``assd`` are in the unit of the spacing: mm, or pixels of pictures.
"""

DISTANCES = ("hd95", "assd")


class Scores(NamedTuple):
    """The measures of one class in one case. Distances are NaN where they were not asked for."""

    dice: float
    hd95: float
    assd: float
    sensitivity: float
    precision: float


def score(
    prediction: Volume, truth: Volume, spacing: Sequence[float], *, distances: bool = True
) -> Scores:
    """Compare a predicted volume with the true one.

    Args:
        prediction: [Z, Y, X] bool.
        truth: [Z, Y, X] bool.
        spacing: Voxel size along the three axes, whose unit is that of the distances.
        distances: Whether to compute the surface distances, which take nearly all the time.

    Returns:
        The measures.

    Raises:
        ValueError: The volumes differ in shape.

    Example:
        >>> cube = np.zeros((4, 4, 4), bool)
        >>> cube[1:3, 1:3, 1:3] = True
        >>> score(cube, np.roll(cube, 1, axis=0), (3.0, 1.0, 1.0))
        Scores(dice=0.5, hd95=3.0, assd=1.5, sensitivity=0.5, precision=0.5)
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"score: prediction is {prediction.shape}, truth is {truth.shape}")
    hd95, assd = np.nan, np.nan
    if distances:
        hd95, assd = surface_distances(prediction, truth, spacing)
    return Scores(
        dice(prediction, truth),
        hd95,
        assd,
        sensitivity(prediction, truth),
        precision(prediction, truth),
    )


def dice(prediction: Volume, truth: Volume) -> float:
    """Return twice the overlap over the sum of the sizes; 1 if both are empty.

    Example:
        >>> dice(np.array([[[True, True, False]]]), np.array([[[True, False, False]]]))
        0.6666666666666666
    """
    return _ratio(2 * _overlap(prediction, truth), int(prediction.sum()) + int(truth.sum()))


def sensitivity(prediction: Volume, truth: Volume) -> float:
    """Return the share of the truth that is predicted; of an empty truth, see the module.

    Example:
        >>> sensitivity(np.array([[[True, True, False]]]), np.array([[[True, False, False]]]))
        1.0
    """
    return _ratio(_overlap(prediction, truth), int(truth.sum()), empty=not prediction.any())


def precision(prediction: Volume, truth: Volume) -> float:
    """Return the share of the prediction that is true; of an empty prediction, see the module.

    Example:
        >>> precision(np.array([[[True, True, False]]]), np.array([[[True, False, False]]]))
        0.5
    """
    return _ratio(_overlap(prediction, truth), int(prediction.sum()), empty=not truth.any())


def surface_distances(
    prediction: Volume, truth: Volume, spacing: Sequence[float]
) -> tuple[float, float]:
    """Return how far the two surfaces are from each other.

    Args:
        prediction: [Z, Y, X] bool.
        truth: [Z, Y, X] bool.
        spacing: Voxel size in mm along the three axes.

    Returns:
        HD95 (the larger of the two directed 95th percentiles) and ASSD (the mean over the voxels
        of both surfaces), in mm.
    """
    if not (prediction.any() and truth.any()):
        empty = not prediction.any() and not truth.any()
        return (0.0, 0.0) if empty else (diagonal(truth.shape, spacing),) * 2
    import torch
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    from monai.metrics.surface_distance import compute_average_surface_distance

    p, t = (torch.from_numpy(np.ascontiguousarray(m))[None, None] for m in (prediction, truth))
    mm = [float(size) for size in spacing]
    with warnings.catch_warnings():  # MONAI warns of an argument that it passes to itself
        warnings.simplefilter("ignore", FutureWarning)
        hd95 = compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=mm)
        assd = compute_average_surface_distance(
            p, t, include_background=True, symmetric=True, spacing=mm
        )
    return float(hd95), float(assd)


def diagonal(shape: Sequence[int], spacing: Sequence[float]) -> float:
    """Return the length in mm of the diagonal of a grid."""
    return float(np.linalg.norm(np.asarray(shape) * np.asarray(spacing, dtype=np.float64)))


def _overlap(prediction: Volume, truth: Volume) -> int:
    return int(np.logical_and(prediction, truth).sum())


def _ratio(part: int, whole: int, empty: bool = True) -> float:
    return part / whole if whole else float(empty)
