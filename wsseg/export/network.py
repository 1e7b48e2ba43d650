"""The part of a module that predicts, and the way back to it from an exported model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from wsseg.checkpoints.loading import module_class
from wsseg.models.cam_module import CamModule
from wsseg.models.slice_module import CLASS_PATH, SliceModule
from wsseg.segmentation.module import SegmentationModule
from wsseg.utils.documents import read_document
from wsseg.utils.errors import InputError

SETTINGS = "hyper_parameters"  # where a description holds the arguments of its module
PREDICTS = "teacher"  # the only part of a module that predicts


def predicting_part(module: SliceModule) -> SliceModule:
    """Remove from a module all that only training needs, such as the network that is averaged.

    Args:
        module: The module, which is changed.

    Returns:
        The same module, in evaluation mode, without gradients.

    Raises:
        InputError: Modules of its class do not predict by their averaged network alone.

    Example:
        >>> from wsseg.data.spec import DataSpec
        >>> spec = DataSpec(("T1",), {"tumour": (1,)}, "axial", None, (32, 32))
        >>> part = predicting_part(CamModule(spec.to_dict(), widths=(8, 16)))
        >>> {name.partition(".")[0] for name in part.state_dict()}
        {'teacher'}
    """
    if not isinstance(module, CamModule | SegmentationModule):
        raise InputError(
            f"{type(module).__name__}: is a comparator, which cannot be exported; give a "
            "checkpoint of the first or the second stage"
        )
    for name, _ in list(module.named_children()):
        if name != PREDICTS:
            setattr(module, name, None)
    return module.eval().requires_grad_(False)


def settings_of(module: SliceModule) -> dict[str, Any]:
    """Return what :func:`build_network` needs to make a module again, as plain values.

    Args:
        module: The module.
    """
    settings: dict[str, Any] = {
        CLASS_PATH: f"{type(module).__module__}.{type(module).__qualname__}",
        SETTINGS: dict(module.hparams),
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


class SlicesNetwork(nn.Module):
    """The network of an exported model as MONAI expects it: one tensor goes in, and one comes out.

    The last channel of the input is 1 where there is body, and 0 elsewhere.
    """

    def __init__(self, module: SliceModule) -> None:
        """Take a module.

        Args:
            module: The module, of which all is removed that only training needs.
        """
        super().__init__()
        self.module = predicting_part(module)

    def forward(self, slices: Tensor) -> Tensor:
        """Return the probability of every class at every pixel.

        Args:
            slices: Normalised, [B, M + 1, H, W]; or the S slices of each case,
                [B, M + 1, H, W, S].

        Returns:
            [B, C, H, W] in [0, 1], or [B, C, H, W, S]; 0 outside the body.
        """
        if slices.ndim == 5:
            stack = slices.movedim(-1, 1)
            each: Tensor = self(stack.flatten(0, 1)).unflatten(0, stack.shape[:2])
            return each.movedim(1, -1)
        found: Tensor = self.module(slices[:, :-1].contiguous(), slices[:, -1] > 0.5)
        return found


def build_network(model: Path | str) -> SlicesNetwork:
    """Make the network of an exported model, without its trained weights.

    Args:
        model: ``models/model.json`` of the model; ``model.pt`` and ``model.safetensors`` beside it
            hold the weights.

    Raises:
        InputError: The file cannot be read, or describes no model of this version of wsseg.
    """
    path = Path(model)
    description = read_document(path)
    if not {CLASS_PATH, SETTINGS} <= set(description):
        raise InputError(f"{path}: describes no model; give the file that `wsseg export` wrote")
    kind = module_class(description[CLASS_PATH], path)
    return SlicesNetwork(kind(**description[SETTINGS]))
