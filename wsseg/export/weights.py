"""The weights of a model, for MONAI and as safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from wsseg.export.network import SlicesNetwork


def save_weights(network: SlicesNetwork, path: Path) -> None:
    """Write weights as a dictionary of tensors, as MONAI reads them.

    Args:
        network: The network.
        path: File to write, ending in ``.pt``.
    """
    torch.save(dict(network.state_dict()), path)


def save_safe_weights(network: SlicesNetwork, description: Mapping[str, Any], path: Path) -> None:
    """Write weights as safetensors.

    Args:
        network: The network.
        description: What a user must know; each entry becomes an entry of the file's metadata, as
            JSON.
        path: File to write, ending in ``.safetensors``.
    """
    from safetensors.torch import save

    metadata = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in description.items()
    }
    # Some networks have a layer under two names, but here no two tensors may share their memory.
    weights = {
        name: value.clone(memory_format=torch.contiguous_format)
        for name, value in network.state_dict().items()
    }
    path.write_bytes(save(weights, metadata))  # save_file would let nobody else read the file
