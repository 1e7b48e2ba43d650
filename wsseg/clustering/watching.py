"""Watches a classifier run: what its network is given, and the class activation map it makes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from wsseg.clustering.batch_reading import check_image
from wsseg.clustering.cam_layers import (
    CONTRACT,
    Call,
    CamLayers,
    find_cam_layers,
    find_classifier,
    find_entry,
    is_plane,
    layer_name,
    recorded,
)
from wsseg.utils.errors import InputError


@dataclass
class Seen:
    """What was seen of a run.

    Attributes:
        given: Arguments of the part that the image enters, positional and named.
        returned: What the layer of the class activation map (CAM) returned last, [B, D, h, w]; None
            if it did not run.
        over: Whether the run is over.
    """

    given: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})
    returned: Tensor | None = None
    over: bool = False

    @property
    def image(self) -> Tensor:
        """The image that the part was given, [B, M, H, W]."""
        args, kwargs = self.given
        return check_image(next(each for each in (*args, *kwargs.values())))


@dataclass(frozen=True)
class WatchedLayers:
    """The layers of a module that are watched, by their names.

    Attributes:
        cam: The layers of the CAM.
        entry: The part that the image enters first; "" for the whole module.
        features: The layer whose output is clustered; None if it is not one of the network.
        outputs: Number of class logits.
    """

    cam: CamLayers
    entry: str
    features: str | None
    outputs: int

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[Seen]:
        """See the first run of the module in the block; the first with gradients, if they are on.

        Args:
            module: The module.
        """
        seen, gradients = Seen(), torch.is_grad_enabled()

        def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.over = seen.returned is not None
            if not seen.over:
                seen.given = (args, kwargs)

        def after(_: nn.Module, __: Any, returned: Tensor) -> None:
            if not seen.over and torch.is_grad_enabled() == gradients:
                seen.returned = returned

        entry, layer = map(module.get_submodule, (self.entry, self.cam.layer))
        hooks = [
            entry.register_forward_pre_hook(before, with_kwargs=True),
            layer.register_forward_hook(after),
        ]
        try:
            yield seen
        finally:
            for hook in hooks:
                hook.remove()


@torch.no_grad()
def find_layers(
    module: nn.Module, image: Tensor, cam: str | None, classifier: str | None, features: str | None
) -> WatchedLayers:
    """Find the layers of a classifier by running it once.

    Args:
        module: The module, in evaluation mode.
        image: Some images, [B, M, H, W].
        cam: Name of the layer of the CAM; None to find it.
        classifier: Name of the linear layer that belongs to it; None to find it.
        features: Name of the layer whose output is clustered.

    Raises:
        InputError: The module cannot be run on images, or layers are not found.
    """
    name = type(module).__name__
    with recorded(module) as calls:
        try:
            run(module, image)
        except Exception as error:
            raise InputError(
                f"ClassifierAdapter: {name} fails on images {tuple(image.shape)} alone ({error}); "
                f"give it a forward(self, image), {CONTRACT}"
            ) from error
    if cam is None:
        layers = find_cam_layers(calls)
    else:
        own = layer_name(module, cam, "cam")
        named = classifier is not None and layer_name(module, classifier, "classifier")
        layers = CamLayers(own, named or find_classifier(calls, own))
    if layers is None:
        raise InputError(
            f"ClassifierAdapter: {name} does not pool a feature map by its mean before one linear "
            "layer; name the layer that returns the map [B, D, h, w] before pooling, "
            f"ClassifierAdapter(cam=...), {CONTRACT}"
        )
    if features is not None:
        features = layer_name(module, features, "features")
        _returned(calls, features, name)
    outputs = layers.cam(module, _returned(calls, layers.layer, name)).shape[1]
    logits = calls[-1].returned
    if isinstance(logits, Tensor) and logits.ndim == 2 and logits.shape[1] != outputs:
        raise InputError(
            f"ClassifierAdapter: {name} returns {logits.shape[1]} logits, but {layers.layer!r} "
            f"makes a map of {outputs}; name the linear layer after it, if there is one: "
            f"ClassifierAdapter(cam=..., classifier=...), {CONTRACT}"
        )
    return WatchedLayers(layers, find_entry(calls), features, outputs)


def run(module: nn.Module, image: Tensor) -> Any:
    """Call a module with images, or if it has no ``forward`` its largest part.

    Args:
        module: The module.
        image: [B, M, H, W].
    """
    try:
        return module(image)
    except NotImplementedError:
        parts = {
            part: sum(weight.numel() for weight in part.parameters())
            for part in module.children()
            if type(part).forward is not nn.Module.forward
        }
        if not parts:
            raise
        return max(parts, key=lambda part: parts[part])(image)


def _returned(calls: list[Call], layer: str, module: str) -> Tensor:
    """Return what a layer returned last; refuse layers that returned no map."""
    found = [call.returned for call in calls if call.name == layer]
    if found and is_plane(found[-1]):
        return found[-1]  # type: ignore[no-any-return]
    maps = [call.name for call in calls if call.is_map and call.name]
    raise InputError(
        f"ClassifierAdapter: the layer {layer!r} of {module} returns no map [B, D, h, w]; name "
        f"another one, such as {', '.join(maps[-8:])}"
    )
