"""Reads images and tags from the training batches of somebody else's project."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from wsseg.utils.errors import InputError

Entry = str | int | Callable[[Any], Tensor] | None
"""Where something stands in a batch: its key, its position, or a function of the batch."""

NAMES = {
    "image": ("image", "images", "img", "imgs", "x", "input", "inputs", "pixel_values", "data"),
    "tags": ("tags", "tag", "label", "labels", "target", "targets", "y", "class", "classes"),
}
PLACES = {"image": 0, "tags": 1}


def read_entry(batch: Any, what: str, entry: Entry = None) -> Tensor:
    """Return the image or the tags of a batch.

    Args:
        batch: A sequence that begins with image and tags, or a dictionary.
        what: "image" or "tags".
        entry: Where it stands, if not there, or not under one of ``NAMES``.

    Raises:
        InputError: It is not there, or is no tensor.

    Example:
        >>> read_entry([torch.rand(2, 3, 8, 8), torch.tensor([0, 1])], "tags")
        tensor([0, 1])
        >>> read_entry({"img": torch.rand(2, 3, 8, 8), "grade": torch.ones(2)}, "tags", "grade")
        tensor([1., 1.])
    """
    holds, value = type(batch).__name__, None
    if callable(entry):
        value = entry(batch)
    elif isinstance(batch, Mapping):
        names = {str(key).lower(): key for key in reversed(list(batch))}
        known = [names[name] for name in NAMES[what] if name in names]
        holds = f"a dictionary of {', '.join(map(repr, batch))}"
        value = batch.get(entry if entry is not None else next(iter(known), None))
    elif isinstance(batch, Sequence):
        place = PLACES[what] if entry is None else entry
        holds = f"a {holds} of {len(batch)}"
        value = batch[place] if isinstance(place, int) and place < len(batch) else None
    if isinstance(value, Tensor):
        return value
    raise InputError(
        f"ClassifierAdapter: no tensor of the {what} found in a training batch, which is {holds}; "
        f"say where it stands: ClassifierAdapter({what}=...) takes a key, a position, or a "
        "function of the batch"
    )


def check_image(image: Tensor) -> Tensor:
    """Return an image [B, M, H, W], and refuse other shapes.

    Raises:
        InputError: It has another shape; the message says what to do with volumes.
    """
    if image.ndim == 4:
        return image
    advice = "give pictures [B, M, H, W]"
    if image.ndim == 5:
        advice = (
            "clusters are made of slices, so train on slices [B, M, H, W], each with a tag: "
            "volume.movedim(2, 1).flatten(0, 1) makes them of volumes [B, M, D, H, W]"
        )
    raise InputError(f"ClassifierAdapter: the image is {tuple(image.shape)}; {advice}")


def are_ids(labels: Tensor, outputs: int) -> bool:
    """Return whether labels are class ids, [B] or [B, 1] integers, of a network of many outputs."""
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    return outputs > 1 and whole and (labels.ndim == 1 or labels.shape[1:] == (1,))


def to_tags(labels: Tensor, outputs: int) -> Tensor:
    """Turn class ids, or a 0 or 1 for each class, into tags [B, C] float32.

    Args:
        labels: Class ids, [B] or [B, 1] integers; or [B, C], 0 or 1. With one class also [B].
        outputs: Number of class logits of the network.

    Raises:
        InputError: They are neither.

    Example:
        >>> to_tags(torch.tensor([2, 0]), outputs=3)
        tensor([[0., 0., 1.], [1., 0., 0.]])
        >>> to_tags(torch.tensor([True, False]), outputs=1)
        tensor([[1.], [0.]])
    """
    if are_ids(labels, outputs):
        ids = labels.flatten().long()
        if len(ids) and not 0 <= int(ids.min()) <= int(ids.max()) < outputs:
            raise InputError(
                f"ClassifierAdapter: class ids go from {int(ids.min())} to {int(ids.max())}, but "
                f"the network has {outputs} outputs; number them from 0"
            )
        return F.one_hot(ids, outputs).float()
    tags = labels[:, None] if labels.ndim == 1 else labels
    if tags.ndim != 2 or tags.shape[1] != outputs:
        raise InputError(
            f"ClassifierAdapter: the tags are {tuple(labels.shape)} of {labels.dtype}, but the "
            f"network has {outputs} outputs; give class ids [B] (whole numbers), or "
            f"[B, {outputs}] with 0 or 1 for each class"
        )
    return check_hard(tags.float())


def check_hard(tags: Tensor) -> Tensor:
    """Return tags of 0, 1 or NaN, and refuse others, which clusters cannot be scored by.

    Raises:
        InputError: A tag is neither 0 nor 1 nor NaN, which means that it is unknown.

    Example:
        >>> check_hard(torch.tensor([[0.5], [1.0]]))
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: tags: one is 0.5; ...
    """
    soft = tags[(tags != 0) & (tags != 1) & ~tags.isnan()]
    if len(soft):
        raise InputError(
            f"tags: one is {float(soft[0]):g}; clusters need tags of 0 or 1, or NaN if unknown, so "
            "round them, as (tags > 0.5).float(), and leave smoothed labels to the loss"
        )
    return tags
