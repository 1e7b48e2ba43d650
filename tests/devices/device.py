"""A GPU that is not there: its tensors are computed on the CPU.

What torch refuses on a GPU is refused here (operations on tensors of both sides), and what makes
the host wait for a GPU is noted. Values are real, so that branches are taken, gradients flow and
results can be compared with those of the CPU. To import this module registers the device with torch
for good, so it belongs into a process of its own.
"""

from __future__ import annotations

import linecache
import sys
from contextlib import nullcontext
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.backend_registration import (
    _DummyBackendModule,
    _setup_privateuseone_for_python_backend,
)

NAME = "pretended"
PACKAGE = Path(__file__).resolve().parents[2] / "wsseg"
STEPS = ("training_step", "optimizer_step", "on_train_batch_start", "on_train_batch_end")
aten = torch.ops.aten
COPIES = {aten._to_copy.default, aten.copy_.default}
# Their result has as many elements as the data say: the host must know before it goes on.
COUNTED = {
    aten.nonzero.default,
    aten.masked_select.default,
    aten.bincount.default,
    aten._unique2.default,
    aten.unique_dim.default,
    aten.equal.default,
    aten._local_scalar_dense.default,
}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten.index_put.default}
# Of tensors of no dimension, too, they take none from the other side.
STRICT = {aten.cat.default, aten.stack.default, aten.mm.default, aten.addmm.default}


class _Backend(_DummyBackendModule):
    """What ``torch.autocast`` and ``torch.manual_seed`` ask of a device."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend(NAME, _Backend())
torch.__future__.set_overwrite_module_params_on_conversion(True)  # else modules keep their type
torch._C._set_only_lift_cpu_tensors(True)  # else torch.tensor(..., device=...) is not seen
DEVICE = torch.device(NAME, 0)


def _no_gradients(mode: bool = True) -> Any:
    """Stand in for ``inference_mode``, within which tensors of other kinds have no views."""
    return torch.no_grad() if mode else nullcontext()


torch.inference_mode = _no_gradients  # type: ignore[assignment, misc]


class DeviceTensor(torch.Tensor):
    """A tensor of the CPU that passes for one of the device."""

    held: Tensor
    is_cuda = True  # what the package asks before it takes the path of GPUs
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor) -> DeviceTensor:
        made: DeviceTensor = torch.Tensor._make_wrapper_subclass(
            cls,
            held.size(),
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
            requires_grad=held.requires_grad,
        )
        made.held = held
        return made

    def tolist(self) -> Any:
        """Do what torch refuses to do for tensors of other kinds."""
        return self.cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: outside of PretendedDevice")


class PretendedDevice(TorchDispatchMode):
    """Within it :data:`DEVICE` works; ``in_steps`` tells what training waited for.

    ``operations`` counts what ran there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.in_steps: set[str] = set()
        self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        leaves = tree_flatten((args, kwargs))[0]
        there = [leaf for leaf in leaves if isinstance(leaf, DeviceTensor)]
        here = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf not in _Same(there)]
        self.operations += bool(there)
        asked = kwargs.get("device")
        onto = bool(there) if asked is None else torch.device(asked).type == NAME
        if asked is not None and onto:
            kwargs["device"] = torch.device("cpu")
        if func in COPIES:
            in_place = func is aten.copy_.default
            onto = isinstance(args[0], DeviceTensor) if in_place else onto
            crosses = bool(here and there) if in_place else onto != bool(there)
            later = kwargs.get("non_blocking") or (in_place and any(args[2:]))
            if crosses and not (onto and later):
                self._wait("copy to the device" if onto else "copy to the host")
        elif there:
            self._check(func, args, here)
        held = {id(leaf.held): leaf for leaf in there}
        bare = tree_map(lambda leaf: leaf.held if isinstance(leaf, DeviceTensor) else leaf, args)
        named = tree_map(lambda leaf: leaf.held if isinstance(leaf, DeviceTensor) else leaf, kwargs)
        found = func(*bare, **named)
        if not onto:
            return found

        def wrapped(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return value
            return held[id(value)] if id(value) in held else DeviceTensor(value)

        return tree_map(wrapped, found)

    def _check(self, func: Any, args: Any, here: list[Tensor]) -> None:
        """Refuse what a GPU would refuse, or would do in another way than the CPU."""
        if func in INDEXED:
            numbers = [each for each in args[1] if each is not None]
            if not isinstance(args[0], DeviceTensor):
                raise RuntimeError(f"{func}: a tensor of the host, indexed by one of the device")
            if any(each.dtype in (torch.bool, torch.uint8) for each in numbers):
                self._wait("index by truth values")
            if any(not isinstance(each, DeviceTensor) for each in numbers):
                self._wait("index from the host")
            here = [each for each in here if each not in _Same(numbers)]
        if any(each.dim() or func in STRICT for each in here):
            raise RuntimeError(f"{func}: tensors of the device and of the host")
        if func in COUNTED:
            self._wait(str(func))
        if func is aten.convolution.default and args[8] > 1 and _is_channels_last(args[0]):
            raise RuntimeError("a convolution in groups, channels last: cuDNN rounds it to TF32")

    def _wait(self, what: str) -> None:
        """Note the line of the package that waits, if it does so within a training step."""
        frame: FrameType | None = sys._getframe()
        place, in_step = "", False
        while frame is not None:
            file = Path(frame.f_code.co_filename)
            if not place and file.is_relative_to(PACKAGE):
                line = linecache.getline(str(file), frame.f_lineno).strip()
                place = f"{file.relative_to(PACKAGE).as_posix()}: {line} ({what})"
            in_step = in_step or frame.f_code.co_name in STEPS
            frame = frame.f_back
        if place and in_step:
            self.in_steps.add(place)


def _is_channels_last(tensor: Tensor) -> bool:
    channels_last = tensor.is_contiguous(memory_format=torch.channels_last)
    return channels_last and not tensor.is_contiguous()


class _Same:
    """Membership by identity: ``in`` of a list would compare values."""

    def __init__(self, tensors: list[Any]) -> None:
        self._ids = {id(each) for each in tensors}

    def __contains__(self, tensor: object) -> bool:
        return id(tensor) in self._ids
