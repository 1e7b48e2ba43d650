"""A training step of wsseg beside one of the authors' recipe, on the same network and batch.

The recipe (`recipe.py`) clusters every batch, in float32; wsseg's step has its cluster maps from
the batch, made every fourth epoch (section `shares`). Both augment, run the same networks forwards
and backwards and take a step of the optimiser; wsseg's teacher follows, the recipe has none. On the
quickstart's networks k-means has 16 dimensions, on the authors' as many as their base width, 64 as
published.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from on_theirs import WssegOnTheirs
from phantom_slices import phantom_batch
from recipe import PublishedCrs, PublishedOnQuickstart
from timing import Row, device, measure_in_turn, row
from torch import Tensor

from wsseg.comparators import ReferenceCrs
from wsseg.data.spec import Batch, DataSpec
from wsseg.models import CamModule
from wsseg.utils.system import computes_bfloat16

SIZE = 240
BASE_WIDTHS = ((16, 16), (64, 2))  # of the authors' network, and slices that fit the time


class WithoutClusters(PublishedOnQuickstart):
    """The recipe without its k-means and what follows from it: what is left is the network."""

    def judge_clusters(self, features: Tensor, cam: Tensor, valid: Tensor, tags: Tensor) -> Tensor:
        """Judge none."""
        return cam.sum() * 0


class WithFaiss(PublishedOnQuickstart):
    """The recipe with faiss, 20 iterations, and the comparator's loss of all clusters at once."""

    judge_clusters = ReferenceCrs.judge_clusters


def rows(scale: float) -> list[Row]:
    """Time steps on the quickstart's networks and on the authors'.

    Args:
        scale: Of the batch.
    """
    slices = _spec(SIZE)
    spec = slices.to_dict()
    batch = _to_device(phantom_batch(slices, max(2, int(16 * scale))))
    count = len(batch["index"])
    found = _compare(
        f"quickstart's networks, {count} x {SIZE} x {SIZE}",
        batch,
        CamModule(spec),
        {
            "authors' recipe": PublishedOnQuickstart(spec),
            "authors' recipe, k-means by faiss, 20 iterations": WithFaiss(spec),
            "authors' recipe without clusters": WithoutClusters(spec),
        },
    )
    for width, most in BASE_WIDTHS:
        few = _first(batch, max(2, int(most * scale)))
        count = len(few["index"])
        found += _compare(
            f"authors' network, {width} channels, {count} x {SIZE} x {SIZE}",
            few,
            WssegOnTheirs(spec, width),
            {"authors' recipe": PublishedCrs(spec, width)},
        )
    return found


def _compare(name: str, batch: Batch, ours: Any, theirs: dict[str, ReferenceCrs]) -> list[Row]:
    """Time the steps in turn; each of theirs is given as a multiple of each of ours."""
    precisions = [torch.float32, *([torch.bfloat16] if computes_bfloat16(device()) else [])]
    mine = {f"wsseg, {_name(kind)}": stepper(ours, batch, kind) for kind in precisions}
    works = mine | {f"{who}, float32": _recipe_step(each, batch) for who, each in theirs.items()}
    seconds = measure_in_turn(works)
    notes = dict.fromkeys(mine, "clusters are made every fourth epoch")
    for who, module in theirs.items():
        ratios = [
            f"{statistics.median(seconds[f'{who}, float32']) / statistics.median(seconds[own]):.2f}"
            for own in mine
        ]
        notes[f"{who}, float32"] = f"{', '.join(ratios)} times wsseg's{_did(module)}"
    found = [row(f"{name}: {who}", seconds[who], note=notes[who]) for who in works]
    if not computes_bfloat16(device()):
        note = "skipped: this processor has no instructions for it"
        found.insert(1, Row(f"{name}: wsseg, bfloat16", note=note))
    return found


def _did(module: ReferenceCrs) -> str:
    """Say what k-means of the timed steps needed, where it was counted."""
    if not isinstance(module, PublishedCrs) or not module.iterations:
        return ""
    return (
        f"; k-means took {min(module.iterations)} to {max(module.iterations)} iterations,"
        f" {min(module.judged)} to {max(module.judged)} clusters had a loss"
    )


def _name(precision: torch.dtype) -> str:
    return str(precision).removeprefix("torch.")


def quickstart_step(size: int, batch: int) -> Callable[[], None]:
    """Return a function that makes one step of the quickstart's network.

    Args:
        size: Height and width.
        batch: Slices.
    """
    return stepper(CamModule(_spec(size).to_dict()), _noise(size, batch))


def stepper(
    module: Any, batch: Batch, precision: torch.dtype = torch.float32
) -> Callable[[], None]:
    """Return a function that makes one step of a module of wsseg, as its Trainer does.

    Args:
        module: The module.
        batch: What it learns from.
        precision: That of automatic mixed precision, or float32.
    """
    optimizer = torch.optim.AdamW(_prepare(module), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device().type, precision, enabled=precision != torch.float32):
            loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        module.teacher.update_parameters(module.network)

    return step


def _recipe_step(module: ReferenceCrs, batch: Batch) -> Callable[[], None]:
    """Return a function that makes one step as the authors do: Adam, no averaged weights."""
    optimizer = torch.optim.Adam(_prepare(module), lr=module.optimisation.lr)

    def step() -> None:
        optimizer.zero_grad()
        module.training_step(batch, 0).backward()
        optimizer.step()

    return step


def _prepare(module: Any) -> list[Tensor]:
    """Put a module on the device, without its logger; return what is trained."""
    module.to(device()).train()
    module.log = module.log_dict = lambda *_, **__: None
    return [each for each in module.parameters() if each.requires_grad]


def _spec(size: int) -> DataSpec:
    names = ("T1", "T1ce", "T2", "FLAIR")
    return DataSpec(names, {"tumour": (1,)}, "axial", None, (size, size))


def _noise(size: int, count: int) -> Batch:
    line = torch.arange(size) / size - 0.5
    head = (line[:, None] / 0.42) ** 2 + (line / 0.30) ** 2 < 1
    valid = head.expand(count, -1, -1).clone()
    number = torch.arange(count)
    return _to_device(
        Batch(
            image=torch.randn(count, 4, size, size) * head,
            tags=(number % 2).float()[:, None],
            valid=valid,
            index=number,
            case=number,
            level=number % 8,
            cluster_map=torch.where(valid, 0.0, -1.0)[:, None],
        )
    )


def _first(batch: Batch, count: int) -> Batch:
    return _each(batch, lambda values: values[:count])


def _to_device(batch: Batch) -> Batch:
    return _each(batch, lambda values: values.to(device()))


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    return {name: change(values) for name, values in batch.items()}  # type: ignore[return-value, arg-type]
