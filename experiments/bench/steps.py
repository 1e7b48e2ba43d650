"""A training step, beside the authors' way of clustering every batch."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import torch
from backends import lloyd
from timing import Row, device, measure, row

from wsseg.clustering.kmeans import fit_kmeans
from wsseg.data.spec import Batch, DataSpec
from wsseg.models import CamModule

CLUSTERS = 10
# What fast-pytorch-kmeans, which the authors call, does unless it is told otherwise.
ITERATIONS, TOLERANCE = 100, 1e-4


def rows(scale: float) -> list[Row]:
    """Time steps of our network and of the authors', with clusters made before or in the step.

    Args:
        scale: Of the batch.
    """
    batch = max(2, int(16 * scale))
    found: list[Row] = []
    for precision in (torch.float32, torch.bfloat16):
        found += _with_and_without(batch, precision)
    return found + _reference(max(2, batch // 8))


def _with_and_without(batch: int, precision: torch.dtype) -> list[Row]:
    """Time a step, and a step that also clusters the batch."""
    module, slices = CamModule(_spec(240).to_dict()).to(device()), _batch(240, batch)
    step = _stepper(module, slices, precision)
    ours = measure(step, repeats=3)
    with torch.no_grad():
        features = module.embed_pixels(slices, activation=False).features * slices["valid"][:, None]
    points = features.movedim(1, -1).flatten(0, 2).contiguous()
    name = f"quickstart's network, {batch} x 240 x 240, {str(precision).removeprefix('torch.')}"
    found = [row(f"{name}: step", ours, note="clusters are made every fourth epoch")]
    works = {
        "plain torch": lambda: lloyd(points, CLUSTERS, ITERATIONS, TOLERANCE),
        "faiss, 20 iterations": lambda: fit_kmeans(points, CLUSTERS, 0),
    }
    for kind, cluster in works.items():
        seconds = measure(lambda cluster=cluster: (step(), cluster()), repeats=3, warmup=0)
        note = f"{statistics.median(seconds) / statistics.median(ours):.2f} times wsseg's step"
        what = f"and k-means of {len(points):,} x {points.shape[1]}, K={CLUSTERS}, {kind}"
        found.append(row(f"the same, {what}", seconds, note=note))
    return found


def _reference(batch: int) -> list[Row]:
    try:
        from wsseg.comparators import ReferenceCrs
    except ImportError as error:
        return [Row("authors' recipe", note=f"skipped: {error}")]
    module = ReferenceCrs(_spec(240).to_dict()).to(device())
    name = f"authors' network and recipe, {batch} x 240 x 240"
    seconds = measure(_stepper(module, _batch(240, batch)), repeats=2)
    return [row(name, seconds, note="faiss in place of their k-means")]


def quickstart_step(size: int, batch: int) -> Callable[[], None]:
    """Return a function that makes one step of the quickstart's network.

    Args:
        size: Height and width.
        batch: Slices.
    """
    return _stepper(CamModule(_spec(size).to_dict()).to(device()), _batch(size, batch))


def _stepper(
    module: Any, batch: Batch, precision: torch.dtype = torch.float32
) -> Callable[[], None]:
    module.log = module.log_dict = lambda *_, **__: None
    weights = [each for each in module.parameters() if each.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=1e-4)
    module.train()

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device().type, precision, enabled=precision != torch.float32):
            loss = module.training_step(batch, 0)
        loss.backward()
        optimizer.step()
        module.on_train_batch_end(loss, batch, 0)

    return step


def _spec(size: int) -> DataSpec:
    names = ("T1", "T1ce", "T2", "FLAIR")
    return DataSpec(names, {"tumour": (1,)}, "axial", None, (size, size))


def _batch(size: int, count: int) -> Batch:
    line = torch.arange(size) / size - 0.5
    head = (line[:, None] / 0.42) ** 2 + (line / 0.30) ** 2 < 1
    valid = head.expand(count, -1, -1).clone()
    tags = (torch.arange(count) % 2).float()[:, None]
    number = torch.arange(count)
    target = torch.where(valid, 0.0, -1.0)[:, None]
    return {  # type: ignore[return-value]
        name: each.to(device())
        for name, each in Batch(
            image=torch.randn(count, 4, size, size) * head,
            tags=tags,
            valid=valid,
            index=number,
            case=number,
            level=number % 8,
            cluster_map=target,
        ).items()
    }
