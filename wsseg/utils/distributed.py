"""Communication between the processes of a training run; also works with a single process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor

from wsseg.utils.errors import InputError


class Collective:
    """Communication of a process that trains alone: every method returns its argument.

    :class:`DistributedCollective` overrides the methods for several processes.

    Example:
        >>> collective = current_collective(torch.device("cpu"))
        >>> collective.size, collective.gather(torch.tensor([1, 2]))
        (1, tensor([1, 2]))
    """

    rank: int = 0
    size: int = 1

    def sum(self, tensor: Tensor) -> Tensor:
        """Return the sum of a tensor over all processes."""
        return tensor

    def maximum(self, value: int) -> int:
        """Return the largest of the values of all processes."""
        return value

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the rows of all processes, one process after the other.

        Args:
            tensor: [n, ...]; n may differ between processes, the rest may not.
        """
        return tensor

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Return the tensor of process 0; all processes must pass the same shape and type."""
        return tensor

    def broadcast_text(self, text: str) -> str:
        """Return the text of process 0."""
        return text

    @contextmanager
    def together(self, doing: str) -> Iterator[None]:
        """Run a block; if it fails in one process, raise an error in all.

        Without this, the other processes would wait for ever for the one that failed. The block
        itself must not communicate.

        Args:
            doing: What the block does, for the message.

        Raises:
            InputError: The block failed in other processes, but not in this one.
        """
        yield


class DistributedCollective(Collective):
    """Communication by ``torch.distributed``."""

    def __init__(self, device: torch.device) -> None:
        """Use the default process group.

        Args:
            device: The device of this process (NCCL sends from a GPU only).
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
        """Return the largest of the values of all processes."""
        sent = torch.tensor(value, dtype=torch.int64, device=self.device)
        dist.all_reduce(sent, op=dist.ReduceOp.MAX)
        return int(sent)

    def gather(self, tensor: Tensor) -> Tensor:
        """Return the rows of all processes, one process after the other."""
        from torchmetrics.utilities.distributed import gather_all_tensors

        parts = gather_all_tensors(tensor.detach().to(self.device))
        return torch.cat(parts).to(tensor.device)

    def broadcast(self, tensor: Tensor) -> Tensor:
        """Return the tensor of process 0."""
        sent = tensor.detach().to(self.device, copy=True).contiguous()
        dist.broadcast(sent, 0)
        return sent.to(tensor.device)

    def broadcast_text(self, text: str) -> str:
        """Return the text of process 0."""
        texts = [text]
        dist.broadcast_object_list(texts, 0, device=self.device)
        return texts[0]

    @contextmanager
    def together(self, doing: str) -> Iterator[None]:
        """Run a block; if it fails in one process, raise an error in all."""
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
                f"{doing} failed in process {ranks}; see the error message of that process"
            )


def current_collective(device: torch.device) -> Collective:
    """Return the means of communication between the processes that train together.

    Args:
        device: The device of this process.

    Returns:
        A :class:`DistributedCollective` if ``torch.distributed`` has several, else a
        :class:`Collective` of this process alone.
    """
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        return DistributedCollective(device)
    return Collective()
