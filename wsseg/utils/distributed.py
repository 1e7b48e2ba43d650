"""Communication between processes, with one interface for one process and for many."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from wsseg.utils.errors import InputError


class Collective:
    """A single process, to which every operation returns what it gave."""

    rank: int = 0
    size: int = 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return tensor

    def maximum(self, value: int) -> int:
        """Return the largest value of all processes."""
        return value

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the rows of all processes, one process after the other.

        Args:
            tensor: [n, ...]; n may differ between processes, the rest may not.
        """
        return tensor

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Return the tensor of process 0; all must give one of its shape and type."""
        return tensor

    def broadcast_text(self, text: str) -> str:
        """Return the text of process 0."""
        return text

    def barrier(self) -> None:
        """Wait for all processes."""

    @contextmanager
    def together(self, doing: str) -> Iterator[None]:
        """Run a block without communication; if it fails on one process, raise on all.

        Without it a process that raises leaves the others waiting in their next collective.

        Args:
            doing: What the block does, for the message.
        """
        yield


class DistributedCollective(Collective):
    """The processes of ``torch.distributed``."""

    def __init__(self, device: torch.device) -> None:
        """Join the default process group.

        Args:
            device: Where tensors must be to be sent (NCCL sends from a GPU only).
        """
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.device = device if dist.get_backend() == "nccl" else torch.device("cpu")

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        sent = tensor.detach().to(self.device, copy=True).contiguous()
        dist.all_reduce(sent)
        return sent.to(tensor.device)

    def maximum(self, value: int) -> int:
        """Return the largest value of all processes."""
        sent = torch.tensor(value, dtype=torch.int64, device=self.device)
        dist.all_reduce(sent, op=dist.ReduceOp.MAX)
        return int(sent)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the rows of all processes; shorter ones are padded on the way."""
        counts = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        counts[self.rank] = len(tensor)
        dist.all_reduce(counts)
        sizes = counts.tolist()
        padded = tensor.new_zeros(max(sizes), *tensor.shape[1:], device=self.device)
        padded[: len(tensor)] = tensor
        received = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(received, padded)
        rows = [part[:size] for part, size in zip(received, sizes, strict=True)]
        return torch.cat(rows).to(tensor.device)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Return the tensor of process 0."""
        sent = tensor.detach().to(self.device, copy=True).contiguous()
        dist.broadcast(sent, 0)
        return sent.to(tensor.device)

    def broadcast_text(self, text: str) -> str:
        """Return the text of process 0."""
        box = [text]
        dist.broadcast_object_list(box, 0, device=self.device)
        return box[0]

    def barrier(self) -> None:
        """Wait for all processes."""
        self.maximum(0)

    @contextmanager
    def together(self, doing: str) -> Iterator[None]:
        """Run a block without communication; if it fails on one process, raise on all."""
        failure: Exception | None = None
        try:
            yield
        except Exception as error:
            failure = error
        failed = torch.zeros(self.size, dtype=torch.int64, device=self.device)
        failed[self.rank] = failure is not None
        dist.all_reduce(failed)
        if failure is not None:
            raise failure
        if bool(failed.any()):
            ranks = ", ".join(str(rank) for rank in failed.nonzero().flatten().tolist())
            raise InputError(
                f"{doing} failed on rank {ranks}; see the error message of that process"
            )


def current_collective(device: torch.device) -> Collective:
    """Return the processes of this run.

    Args:
        device: The device of this process.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return DistributedCollective(device)
    return Collective()
