"""Which tags the data contradict, by confident learning (Northcutt, Jiang, Chuang, JAIR 2021).

A tag has two values, so that few lines remain of the method. The package cleanlab does the same for
any number of classes, but brings pandas and scikit-learn along.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CONTRADICTED = 1.0
"""From this doubt on, confident learning takes a tag for wrong."""

Values = NDArray[np.float64]


def doubts(probability: Values, tagged: NDArray[np.bool_]) -> Values:
    """Return how strongly the tag of each slice is contradicted, for one class.

    Networks are surer of some classes than of others, and seldom as sure of tagged slices as of
    untagged ones. So every probability is compared with the mean over the slices of either kind.

    Args:
        probability: That the slice has the tag, [N] in [0, 1].
        tagged: Whether it has, [N].

    Returns:
        [N]: 0 for a slice like the mean of those that have the same tag, 1 for one like the mean of
        the others (``CONTRADICTED``), and evenly between and beyond. All 0 where there is only one
        kind of slices, or untagged ones have the higher mean: such a network says nothing.

    Example:
        >>> probability = np.array([0.9, 0.9, 0.1, 0.1, 0.1, 0.6])
        >>> tagged = np.array([True, True, True, False, False, False])
        >>> doubts(probability, tagged).round(1)  # the third slice looks untagged, the last tagged
        array([-0.7, -0.7,  1.5, -0.5, -0.5,  0.9])
    """
    if not tagged.any() or tagged.all():
        return np.zeros(len(tagged))
    with_tag, without = probability[tagged].mean(), probability[~tagged].mean()
    if with_tag <= without:
        return np.zeros(len(tagged))
    place = (probability - without) / (with_tag - without)
    doubt: Values = np.where(tagged, 1 - place, place)
    return doubt


def separation(probability: Values, tagged: NDArray[np.bool_]) -> float:
    """Return how well probabilities tell tagged slices from others: the area under the ROC curve.

    Args:
        probability: [N].
        tagged: [N].

    Returns:
        From 0 to 1; 0.5 if they tell nothing, or if there is only one kind of slices.

    Example:
        >>> separation(np.array([0.1, 0.2, 0.2, 0.9]), np.array([False, False, True, True]))
        0.875
    """
    if not tagged.any() or tagged.all():
        return 0.5
    others = np.sort(probability[~tagged])
    below = others.searchsorted(probability[tagged], "left")
    not_above = others.searchsorted(probability[tagged], "right")
    return float((below + not_above).mean() / 2 / len(others))
