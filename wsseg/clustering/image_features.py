"""Features of pixels that no tag has trained: of the image itself, or of a frozen network."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

FINEST = 64
"""Most pixels of a side of the grid of pixels that are clustered by the image itself."""

NEAR, FAR = 1, 4
"""How often an image is averaged over 3x3 pixels for its local mean, and for its local contrast."""


def image_features(image: Tensor) -> Tensor:
    """Return the local mean and the local contrast of an image as features of a coarser grid.

    Args:
        image: [B, M, H, W].

    Returns:
        [B, 3 * M, h, w] float32: means of a small and a wide surrounding, and the standard
        deviation in the latter; h and w are at most ``FINEST``.

    Example:
        >>> image_features(torch.rand(2, 3, 224, 160)).shape
        torch.Size([2, 9, 56, 40])
    """
    image = image.float()
    near, far = _averaged(image, NEAR), _averaged(image, FAR)
    contrast = _averaged((image - far).square(), FAR).sqrt()
    features = torch.cat((near, far, contrast), dim=1)
    stride = -(-max(image.shape[2:]) // FINEST)
    return F.avg_pool2d(features, stride, ceil_mode=True)


def _averaged(maps: Tensor, times: int) -> Tensor:
    """Average over 3x3 pixels several times."""
    for _ in range(times):
        maps = F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)
    return maps


class _ReachedError(Exception):
    """Ends a forward pass, since the layer that it is made for has returned."""


class FrozenLayer:
    """What a layer of a network returns with the weights that the network has now.

    Example:
        >>> module = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Flatten())
        >>> frozen = FrozenLayer(module, entry="0", layer="1")
        >>> _ = nn.init.zeros_(module[0].weight)  # changes nothing
        >>> frozen(torch.rand(2, 3, 16, 16)).shape
        torch.Size([2, 8, 16, 16])
    """

    def __init__(self, module: nn.Module, entry: str, layer: str) -> None:
        """Copy the part that the image enters, or the whole module if the layer is elsewhere.

        Args:
            module: The module.
            entry: Dotted name of that part.
            layer: Dotted name of the layer.
        """
        inside = f"{layer}.".startswith(f"{entry}.")
        copied = copy.deepcopy(module.get_submodule(entry) if inside else module)
        self._network = copied.eval().requires_grad_(False)
        own = layer.removeprefix(entry).lstrip(".") if inside else layer
        self._layer = copied.get_submodule(own)

    @torch.no_grad()
    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return what the layer returns if that part is given these arguments, [B, D, h, w]."""
        returned: list[Tensor] = []

        def stop(_: nn.Module, __: Any, features: Tensor) -> None:
            returned.append(features)
            raise _ReachedError

        hook = self._layer.register_forward_hook(stop)
        try:
            self._network(*args, **kwargs)
        except _ReachedError:
            pass
        finally:
            hook.remove()
        return returned[0]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights, for a checkpoint."""
        return self._network.state_dict()

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Load weights of a checkpoint."""
        self._network.load_state_dict(state)
