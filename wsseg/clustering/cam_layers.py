"""Finds the layers of somebody else's classifier, by their names or by running it once."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.utils.errors import InputError

NAMES_SHOWN = 8  # in an error message

CONTRACT = (
    "or write embed_pixels(self, batch), which returns PixelEmbeddings(features=..., "
    "activation=..., valid=..., tags=..., index=...), and use batch['cluster_map'] in training_step"
)
"""What a module can do instead of having layers that are found."""


@dataclass(frozen=True)
class Call:
    """A call of a layer while a network ran.

    Attributes:
        name: Dotted name of the layer.
        layer: The layer.
        given: Its first argument.
        returned: What it returned.
    """

    name: str
    layer: nn.Module
    given: Any
    returned: Any

    @property
    def is_map(self) -> bool:
        """Whether it returned a map [B, D, h, w] of more than one pixel."""
        return is_plane(self.returned) and self.returned.shape[2:].numel() > 1


@dataclass(frozen=True)
class CamLayers:
    """Where the class activation map (CAM) of a classifier comes from.

    Attributes:
        layer: Name of the layer that returns the last feature map, or the CAM itself.
        classifier: Name of the linear layer that makes class logits of the mean of that feature
            map; None if the layer returns the CAM itself.
        rectified: Whether the feature map is what is above 0 of what the layer returns.
    """

    layer: str
    classifier: str | None = None
    rectified: bool = False

    def cam(self, module: nn.Module, returned: Tensor) -> Tensor:
        """Return the CAM as logits, [B, C, h, w].

        The classic CAM (Zhou et al., CVPR 2016) applies the classifier to every pixel of the last
        feature map. Its mean over the pixels is the class logit.

        Args:
            module: The module that the names belong to.
            returned: What the layer returned, [B, D, h, w].
        """
        if self.classifier is None:
            return returned
        features = returned.relu() if self.rectified else returned
        layer = module.get_submodule(self.classifier)
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        assert bias is None or isinstance(bias, Tensor)
        return F.conv2d(features, weight.flatten(1)[:, :, None, None], bias)


def layer_name(module: nn.Module, name: str, option: str) -> str:
    """Return the full name of a layer, of which the first parts may be left out.

    Args:
        module: The module that has the layer.
        name: Dotted name of the layer, or the end of it.
        option: Name of the option that it was given for, for the message.

    Raises:
        InputError: No layer, or more than one, has that name.

    Example:
        >>> network = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()), nn.Flatten())
        >>> layer_name(nn.ModuleDict({"net": network}), "0.1", option="cam")
        'net.0.1'
    """
    names: list[str] = [own for own, _ in module.named_modules() if own]
    if name in names:
        return name
    found = [own for own in names if own.endswith(f".{name}")]
    if len(found) == 1:
        return found[0]
    last = {own.rpartition(".")[2]: own for own in reversed(names)}
    near = found or difflib.get_close_matches(name, names, NAMES_SHOWN, 0.5)
    near = near or [last[own] for own in difflib.get_close_matches(name, last, NAMES_SHOWN, 0.5)]
    near = near or [own for own in names if own.count(".") < 2]
    kind = "are several layers" if found else "is no layer"
    raise InputError(
        f"ClassifierAdapter: {option} {name!r}: {kind} of {type(module).__name__}; give one of "
        f"{', '.join(near[:NAMES_SHOWN])}"
    )


@contextmanager
def recorded(module: nn.Module) -> Iterator[list[Call]]:
    """Record the calls of all layers of a module while the block runs, in the order of their ends.

    Args:
        module: The module.
    """
    calls: list[Call] = []

    def recorder(name: str) -> Callable[..., None]:
        def note(layer: nn.Module, given: tuple[Any, ...], returned: Any) -> None:
            calls.append(Call(name, layer, given[0] if given else None, returned))

        return note

    hooks = [each.register_forward_hook(recorder(name)) for name, each in module.named_modules()]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def find_cam_layers(calls: Sequence[Call]) -> CamLayers | None:
    """Find the layers of the CAM in the calls of a network that is evaluated.

    A layer makes the last feature map if the mean over the pixels of what it returned, or of what
    is above 0 of it, is what the last linear layer was given. Without such a pair, a layer makes
    the CAM itself if its mean or maximum over the pixels is what the network returned.

    Args:
        calls: The calls of all layers, see :func:`recorded`.

    Returns:
        None if the network has another structure.

    Example:
        >>> import torch
        >>> head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), head)
        >>> with recorded(network) as calls:
        ...     logits = network(torch.rand(2, 3, 16, 16))
        >>> find_cam_layers(calls)
        CamLayers(layer='1', classifier='2.2', rectified=False)
    """
    if not calls:
        return None
    if calls[-1].is_map:
        return CamLayers(next(call.name for call in calls if call.returned is calls[-1].returned))
    maps = [call for call in reversed(calls) if call.is_map]
    vectors = ((call.name, _classified(call)) for call in reversed(calls))
    classifier, pooled = next((each for each in vectors if each[1] is not None), (None, None))
    for call in maps:
        for rectified in (False, True):
            features = call.returned.relu() if rectified else call.returned
            if _agree(features.mean(dim=(2, 3)), pooled):
                return CamLayers(call.name, classifier, rectified)
    for call in maps:
        pools = (call.returned.mean(dim=(2, 3)), call.returned.amax(dim=(2, 3)))
        if any(_agree(pool, calls[-1].returned) for pool in pools):
            return CamLayers(call.name)
    return None


def find_classifier(calls: Sequence[Call], layer: str) -> str | None:
    """Find the linear layer that is given as many features as a layer returns channels.

    Args:
        calls: The calls of all layers, see :func:`recorded`.
        layer: Name of the layer that returns a map.

    Returns:
        None if there is none, or if there are others after that map.
    """
    last = max((n for n, call in enumerate(calls) if call.name == layer), default=len(calls))
    found = [(call.name, _classified(call)) for call in calls[last + 1 :]]
    linear = [(name, given.shape[1]) for name, given in found if given is not None]
    if len(linear) == 1 and calls[last].is_map and calls[last].returned.shape[1] == linear[0][1]:
        return linear[0][0]
    return None


def find_entry(calls: Sequence[Call]) -> str:
    """Return the outermost part of a module that was given the image before any other, or "".

    Args:
        calls: The calls of all layers, see :func:`recorded`.
    """
    names = [call.name for call in calls if call.name and is_plane(call.given)]
    first = next(iter(names), "")
    return min((name for name in names if f"{first}.".startswith(f"{name}.")), key=len, default="")


def is_plane(value: Any) -> bool:
    """Return whether a value is an image, or a feature map, [B, D, h, w]."""
    return isinstance(value, Tensor) and value.ndim == 4


def _classified(call: Call) -> Tensor | None:
    """Return the vectors [B, D] that a linear layer, or a convolution of one pixel, was given."""
    given = call.given
    if not isinstance(given, Tensor):
        return None
    if isinstance(call.layer, nn.Linear) and given.ndim == 2:
        return given
    if isinstance(call.layer, nn.Conv2d) and given.ndim == 4 and given.shape[2:] == (1, 1):
        return given.flatten(1)
    return None


def _agree(pooled: Tensor, wanted: Any) -> bool:
    """Return whether two tensors [B, D] are the same but for rounding."""
    if not isinstance(wanted, Tensor) or wanted.flatten(1).shape != pooled.shape:
        return False
    wanted = wanted.flatten(1).float()
    scale = wanted.abs().amax().clamp_min(1e-6)
    return bool((pooled.float() - wanted).abs().amax() < 1e-2 * scale)
