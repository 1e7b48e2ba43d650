"""An encoder made of any network that somebody has trained; its weights stay fixed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.models.encoders import Encoder
from wsseg.utils.errors import InputError

PROBE_LENGTH = 64  # pixels of the image that tells the widths of the levels
LONGEST_PATCH = 64  # pixels of a patch of a vision transformer
MOST_TOKENS = 8  # tokens before those of the patches: of the class, and registers


class FixedEncoder(Encoder):
    """Any network that returns feature maps, as an encoder whose weights nothing changes.

    Convolutional networks and vision transformers serve alike: an output [B, D, h, w] is a map, and
    so are tokens [B, N, D], one for each patch, after some for the whole image. Several outputs, in
    a list, tuple or dictionary, are several levels.

    Example:
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 4, stride=4), torch.nn.ReLU())
        >>> encoder = FixedEncoder(network, in_channels=1)
        >>> [level.shape for level in encoder(torch.randn(2, 1, 32, 32))]
        [torch.Size([2, 8, 8, 8])]
    """

    fixed = True

    def __init__(
        self,
        network: nn.Module,
        in_channels: int,
        *,
        layers: Sequence[str] = (),
        channels: int = 3,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Run the network once, to learn what it returns.

        Args:
            network: The network, with its weights. It is used as it is, in evaluation mode.
            in_channels: Channels of the images.
            layers: Names of the layers whose outputs are the levels, as in
                ``network.named_modules()``; by default the output of the network itself is taken.
            channels: Channels that the network takes. Where images have another number, it is
                shown their mean in each.
            size: Height and width that images are resampled to for the network, as many vision
                transformers need; by default it is given images as they are.

        Raises:
            InputError: A layer does not exist, or the network does not run on images or returns no
                feature map.
        """
        super().__init__()
        known = dict(network.named_modules())
        for layer in layers:
            if layer not in known:
                raise InputError(
                    f"FixedEncoder: {type(network).__name__} has no layer {layer!r}; choose among "
                    "the names of network.named_modules()"
                )
        self.network = network
        self.layers = tuple(layers)
        self.channels = channels
        self.size = size
        self.requires_grad_(False)
        self.eval()
        self.widths = self._probe(in_channels)

    def forward(self, image: Tensor) -> list[Tensor]:
        """See :meth:`Encoder.forward`; the resolution of the levels is that of the network.

        Gradients are only kept if the image asks for them, as it does to be explained.
        """
        if image.shape[1] != self.channels:
            image = image.mean(dim=1, keepdim=True).expand(-1, self.channels, -1, -1)
        if self.size is not None and image.shape[-2:] != self.size:
            image = F.interpolate(image, self.size, mode="bilinear", align_corners=False)
        with self._recording() as found:
            output = self.network(image)
        outputs = tensors(found if self.layers else output)
        maps = [as_map(each, image.shape[-2:]) for each in outputs]
        return sorted(
            (each for each in maps if each is not None), key=lambda each: -each.shape[-2:].numel()
        )

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode: statistics of normalisation and dropout are fixed, too."""
        return super().train(False)

    @contextmanager
    def _recording(self) -> Iterator[list[Any]]:
        """Record what the named layers return."""
        found: list[Any] = []
        hooks = [
            self.network.get_submodule(layer).register_forward_hook(
                lambda _, __, output: found.append(output)
            )
            for layer in self.layers
        ]
        try:
            yield found
        finally:
            for hook in hooks:
                hook.remove()

    @torch.no_grad()
    def _probe(self, in_channels: int) -> tuple[int, ...]:
        """Return the widths of the levels."""
        size = self.size or (PROBE_LENGTH, PROBE_LENGTH)
        name = type(self.network).__name__
        try:
            levels = self(torch.zeros(1, in_channels, *size))
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            raise InputError(
                f"FixedEncoder: {name} does not run on images of {self.channels} channels and "
                f"{size[0]} x {size[1]} pixels ({error}); give the `channels` and the `size` that "
                "it takes"
            ) from error
        if not levels:
            raise InputError(
                f"FixedEncoder: {name} returns no feature map [B, D, h, w] and no tokens [B, N, D] "
                "of patches; name layers that do, FixedEncoder(network, in_channels, layers=[...])"
            )
        return tuple(level.shape[1] for level in levels)


def tensors(output: Any) -> list[Tensor]:
    """Return the tensors in an output of a network, however they are nested.

    Example:
        >>> len(tensors((torch.zeros(1), {"more": [torch.zeros(2), None]})))
        2
    """
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    if isinstance(output, (list, tuple)):
        return [tensor for each in output for tensor in tensors(each)]
    return []


def as_map(output: Tensor, size: Sequence[int]) -> Tensor | None:
    """Return an output of a network as a feature map, or None if it is none.

    Args:
        output: A map [B, D, h, w], or tokens [B, N, D] of patches in raster order, before which at
            most ``MOST_TOKENS`` stand for the whole image.
        size: Height and width of the image.

    Returns:
        [B, D, h, w].

    Example:
        >>> as_map(torch.zeros(1, 5, 8), (32, 32)).shape  # a token for the class, and four patches
        torch.Size([1, 8, 2, 2])
        >>> as_map(torch.zeros(1, 1000), (32, 32)) is None  # logits of classes
        True
    """
    if output.ndim == 4:
        return output
    if output.ndim != 3:
        return None
    height, width = size
    for patch in range(2, LONGEST_PATCH + 1):
        rows, columns = height // patch, width // patch
        others = output.shape[1] - rows * columns
        if rows and columns and 0 <= others <= MOST_TOKENS:
            patches = output[:, others:].transpose(1, 2)
            return patches.reshape(*patches.shape[:2], rows, columns)
    return None
