"""The last step of prediction: from what a module says of slices to the masks of a case."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from wsseg.clustering.regions import region_relevance
from wsseg.data.spec import DataSpec, containers, nest
from wsseg.models.options import Finishing
from wsseg.prediction.border_refinement import REFINEMENT_REACH, refine_classes
from wsseg.prediction.components import tidy

# Log odds that a pixel is on the right side of a predicted border, before intensities are looked
# at: of a class that lies in no other, and of one that does. Tags say less of borders within
# another class, since both classes are in nearly the same slices. The first was chosen on 24
# phantoms and the first held-out patients of BraTS 2018, the second on training cases.
MASK_LOG_ODDS = 2.0
INNER_MASK_LOG_ODDS = 1.0


class Finisher(Protocol):
    """What masks are finished by; every module has it."""

    @property
    def spec(self) -> DataSpec:
        """The data specification."""

    @property
    def threshold(self) -> float:
        """Probability above which a pixel belongs to a class."""

    @property
    def finishing(self) -> Finishing:
        """What is done to masks."""


def finish(module: Finisher, probability: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Refine the borders of a case's masks, if the module has it set, and drop specks.

    Args:
        module: The module, or its specification, threshold and finishing.
        probability: [S, C, H, W], the slices of one case in order.
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.

    Returns:
        [S, C, H, W]; above the module's threshold where the finished masks are. Still soft at
        borders, so that these are smooth on the finer grid of the source, too.
    """
    threshold = module.threshold
    if follows_regions(module):
        probability = refine_pictures(module, probability, image, valid)
    elif module.finishing.refinement > 0:
        drawn = refine(module, probability > threshold, image, valid)
        probability = _moved(drawn, threshold)
    masks = (probability > threshold).numpy()
    kept = tidy(masks, module.finishing.smallest_component, containers(module.spec.classes))
    return probability.masked_fill(torch.from_numpy(masks & ~kept), 0.0)


def _moved(drawn: Tensor, threshold: float) -> Tensor:
    """Rescale probabilities so that borders, which lie at one half, lie at a threshold."""
    if threshold == 0.5:
        return drawn
    inside, outside = threshold + (1 - threshold) * (2 * drawn - 1), threshold * 2 * drawn
    return torch.where(drawn > 0.5, inside, outside)


def follows_regions(module: Finisher) -> bool:
    """Tell whether masks follow the regions of each picture instead of being refined by case."""
    return module.finishing.refinement > 0 and module.spec.of_pictures


def refine_pictures(module: Finisher, probability: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Let masks follow the regions of pictures; pictures do not affect each other.

    Args:
        module: Its threshold says which pictures have a class: those with a probability above it.
        probability: [S, C, H, W].
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.

    Returns:
        [S, C, H, W] in [0, 1], above the module's threshold where the masks now are.
    """
    shown = (probability > module.threshold).flatten(2).any(dim=2)  # also if the lesion is tiny
    drawn = region_relevance(probability, image, valid) * shown[:, :, None, None]
    return _moved(nest(drawn, containers(module.spec.classes)), module.threshold)


def refine(module: Finisher, masks: Tensor, image: Tensor, valid: Tensor) -> Tensor:
    """Refine borders by what the patient's own lesion looks like.

    Args:
        module: Its ``finishing`` says how much intensities count.
        masks: [S, C, H, W] bool, the slices of one case in order.
        image: [S, M, H, W], normalised.
        valid: [S, H, W] bool.

    Returns:
        [S, C, H, W] in [0, 1], above 0.5 where the masks now are.
    """
    odds = [
        INNER_MASK_LOG_ODDS if outer else MASK_LOG_ODDS for outer in containers(module.spec.classes)
    ]
    firm = torch.tensor(odds)[:, None, None]
    return refine_classes(
        torch.where(masks, torch.sigmoid(firm), torch.sigmoid(-firm)),
        image,
        valid,
        module.spec.classes,
        threshold=0.5,
        reach=REFINEMENT_REACH,
        weight=module.finishing.refinement,
        smallest=module.finishing.smallest_component,
    )
