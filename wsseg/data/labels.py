"""Which number a class has in predicted masks, and label maps made of these numbers.

Also the names of the files by which a folder of predictions is known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count

import numpy as np
from numpy.typing import NDArray

from wsseg.data.spec import containers

PREDICTED_MASKS = "masks"  # the folder of a prediction's masks
SLICER_FILE = "labels.ctbl"  # beside it, names and colours for 3D Slicer
LARGEST_LABEL = 32_767  # fits 16 bits with and without a sign; Slicer reads labels up to 32,768


def mask_labels(classes: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Choose the number of each class in predicted masks, out of the data set's own labels.

    A mask can show one number at a pixel, but a class may be made of several labels, which it may
    share with others. So a class takes, if there is one, the smallest label that

    1. it alone has, or else
    2. none of the classes that lie inside it has and no other class took, or else
    3. no class has and no other took.

    ============================================================  ================================
    classes                                                       numbers
    ============================================================  ================================
    tumour [1, 2, 4]                                              tumour 1
    cyst [3], mass [1]                                            cyst 3, mass 1
    whole [1, 2, 4], core [1, 4], enhancing [4]                   whole 2, core 1, enhancing 4
    whole [1, 2], core [1], oedema [2]                            core 1, oedema 2, whole 3
    left [1, 2], right [2, 3]                                     left 1, right 3
    lesion [1], finding [1]                                       finding 1, lesion 2
    ============================================================  ================================

    The order of the classes does not matter: where they would take the same label, that with the
    smaller labels comes first, and of equal ones the first in the alphabet.

    Args:
        classes: The mask labels that make each class. Of those only numbers from 1 to 32,767 are
            taken.

    Returns:
        A number from 1 for each class, in the order that was given; no two are the same.

    Example:
        >>> mask_labels({"whole": (1, 2, 4), "core": (1, 4), "enhancing": (4,)})
        {'whole': 2, 'core': 1, 'enhancing': 4}
    """
    own = {name: {n for n in labels if 0 < n <= LARGEST_LABEL} for name, labels in classes.items()}
    order = sorted(own, key=lambda name: (sorted(own[name]), name))
    number: dict[str, int] = {}

    def take(name: str, labels: set[int]) -> None:
        free = labels.difference(number.values())
        if name not in number and free:
            number[name] = min(free)

    for name in order:
        take(name, own[name].difference(*(own[other] for other in own if other != name)))
    for name in order:
        take(name, own[name].difference(*(each for each in own.values() if each < own[name])))
    used = set().union(*own.values())
    for name in order:
        take(name, {next(n for n in count(1) if n not in used and n not in number.values())})
    return {name: number[name] for name in classes}


def meanings(classes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return which numbers mean each class, in the data set's own masks and in predicted ones.

    Args:
        classes: The mask labels that make each class.

    Returns:
        The labels of each class, and beside them the number that predictions give it or a class
        inside it, in the same order.

    Example:
        >>> meanings({"whole": (1, 2), "core": (1,), "oedema": (2,)})
        {'whole': (1, 2, 3), 'core': (1,), 'oedema': (2,)}
    """
    numbers = list(mask_labels(classes).values())
    means = {name: {*labels, numbers[n]} for n, (name, labels) in enumerate(classes.items())}
    for number, outer in zip(numbers, containers(classes), strict=True):
        for channel in outer:
            means[list(classes)[channel]].add(number)
    return {name: tuple(sorted(values)) for name, values in means.items()}


def label_map(
    masks: NDArray[np.bool_], classes: Mapping[str, Sequence[int]]
) -> NDArray[np.uint8 | np.uint16]:
    """Turn one mask per class into one map of labels, which :func:`mask_labels` chooses.

    Where nested classes overlap (whole tumour, core, enhancing core) the innermost shows, of
    others that overlap the one with the higher number.

    Args:
        masks: [C, X, Y, Z].
        classes: For each class the mask labels that make it, in channel order.

    Returns:
        [X, Y, Z], 0 for background; of 8 bits if they suffice, otherwise of 16.

    Example:
        >>> whole, core = np.array([[[[True, True, False]]], [[[False, True, False]]]])
        >>> label_map(np.stack([whole, core]), {"whole": (1, 2, 4), "core": (1, 4)}).tolist()
        [[[2, 1, 0]]]
    """
    numbers = list(mask_labels(classes).values())
    dtype = np.uint8 if max(numbers) < 256 else np.uint16
    labels = np.zeros(masks.shape[:0:-1], dtype).T  # laid out as it will be written
    outer = containers(classes)
    for channel in sorted(range(len(outer)), key=lambda n: (len(outer[n]), numbers[n])):
        np.copyto(labels, numbers[channel], where=masks[channel])
    return labels
