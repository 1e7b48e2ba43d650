"""The options that every module has, each explained and checked in one place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from wsseg.utils.errors import check_option


@dataclass(frozen=True)
class Optimisation:
    """How the weights of a network are trained and averaged.

    Example:
        >>> Optimisation(lr=1e-3)
        Optimisation(lr=0.001, weight_decay=0.0001, teacher_decay=0.98)
        >>> Optimisation(lr=-1)
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: --model.optimisation.lr -1: must be at least 0

    Attributes:
        lr: Peak learning rate.
        weight_decay: Weight decay of the optimiser.
        teacher_decay: Share of the averaged weights, which predict, that every step keeps; 0
            predicts with the weights of the last step.
    """

    lr: float = 2e-3
    weight_decay: float = 1e-4
    teacher_decay: float = 0.98

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay"):
            value = getattr(self, name)
            check_option(0 <= value < math.inf, f"model.optimisation.{name}", value, "at least 0")
        decay = self.teacher_decay
        name = "model.optimisation.teacher_decay"
        check_option(0 <= decay < 1, name, decay, "at least 0 and below 1")


@dataclass(frozen=True)
class Finishing:
    """What is done to the predicted masks of a whole case.

    Example:
        >>> Finishing(smallest_component=0)  # keep all of many small lesions
        Finishing(refinement=1.0, smallest_component=0)

    Attributes:
        refinement: Strength of border refinement by each patient's own intensities; 0 leaves
            borders as predicted.
        smallest_component: Predicted components, connected in 3-D, below this share of the volume
            of the case's largest one are dropped; 0 keeps all, for diseases of many small lesions
            such as multiple sclerosis.
    """

    refinement: float = 1.0
    smallest_component: float = 0.1

    def __post_init__(self) -> None:
        strength, share = self.refinement, self.smallest_component
        check_option(0 <= strength < math.inf, "model.finishing.refinement", strength, "at least 0")
        check_option(0 <= share <= 1, "model.finishing.smallest_component", share, "from 0 to 1")


Options = TypeVar("Options", Optimisation, Finishing)


def from_plain(kind: type[Options], options: Options | Mapping[str, Any]) -> Options:
    """Return options that are given as such, or as the dictionary that checkpoints hold.

    Example:
        >>> from_plain(Finishing, {"refinement": 0.0, "smallest_component": 0.5})
        Finishing(refinement=0.0, smallest_component=0.5)
    """
    return kind(**options) if isinstance(options, Mapping) else options
