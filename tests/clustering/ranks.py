"""Runs clusterings in several processes and writes what each of them ends with, as JSON.

Started by ``test_distributed`` as ``python ranks.py FOLDER SCENARIO-PROCESSES...``: a fresh process
can fork safely, the one that runs the tests (with OpenMP threads of its own) cannot.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from foreign_project import Finder, Squares
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset
from toy_source import OPTIONS, ToySource, scene

from wsseg.clustering import (
    ClassifierAdapter,
    ClusteringOptions,
    ClusterReSupervision,
    Clusters,
    ClusterStatistics,
    Deviation,
    EvidenceScorer,
    PixelEmbeddings,
    Scorer,
)
from wsseg.clustering.map_refresh import RegionRefresh
from wsseg.clustering.refresh import Refresh
from wsseg.utils.distributed import DistributedCollective
from wsseg.utils.map_folder import MapFolder

STRATEGIES = {"train": "ddp_fork", "spawn": "ddp_spawn"}


def checksum(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def tensors(clusters: Clusters) -> list[Tensor]:
    own = [each for each in vars(clusters).values() if isinstance(each, Tensor)]
    return [*own, *clusters.learned]


def write(folder: Path, rank: int, **found: Any) -> None:
    (folder / f"{rank}.json").write_text(json.dumps(found))


class Failing(ToySource):
    """Raises in the second process only, in its first or a later pass over the slices."""

    def __init__(self, passes: int) -> None:
        super().__init__()
        self.passes = passes

    def embed(
        self, positions: Sequence[int], activation: bool = True, features: bool = True
    ) -> Iterator[PixelEmbeddings]:
        self.passes -= 1
        for batch in super().embed(positions, activation, features):
            if dist.get_rank() == 1 and self.passes == 0:
                raise RuntimeError("out of memory")
            yield batch


class Counting(Scorer):
    """Notes how many slices it is told of."""

    low, high = EvidenceScorer.low, EvidenceScorer.high

    def __init__(self) -> None:
        self.slices = 0

    def __call__(self, statistics: ClusterStatistics) -> Tensor:
        self.slices = int(statistics.total[0].sum())
        return EvidenceScorer()(statistics)


def refresh(rank: int, scenario: str, processes: int, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/case", rank=rank, world_size=processes
    )
    sent = count_bytes()
    collective = DistributedCollective(torch.device("cpu"))
    passes = {"failing": 1, "late": 2}.get(scenario)
    source = Failing(passes) if passes else scene(scenario)
    shared = MapFolder(folder, rank, processes)
    if scenario == "apart":  # every process is a machine with a disk of its own
        shared = MapFolder(folder / f"node-{rank}", 0, 1, copies=processes)
        shared.path.mkdir()
    views = [Deviation()] if scenario == "compared" else []
    work = Refresh(source, OPTIONS, EvidenceScorer(), views, shared, collective)
    try:
        clusters, maps = work.run()
        clusters, maps = work.run(clusters, maps)
    except Exception as error:
        write(folder, rank, error=f"{type(error).__name__}: {error}")
    else:
        found = maps.lookup(torch.arange(len(source)))
        write(
            folder,
            rank,
            checksum=checksum(*tensors(clusters), found),
            normal=any(bool(each.isfinite().any()) for each in clusters.learned),
            centroids=clusters.centroids.tolist(),
            report={k: v for k, v in work.report.items() if not k.startswith("seconds")},
            maps=checksum(found),
            sent=sum(sent),
        )
    dist.destroy_process_group()


def divide(rank: int, scenario: str, processes: int, folder: Path) -> None:
    """Write the maps of regions twice, so that their change is reported, too."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/case", rank=rank, world_size=processes
    )
    collective, shared = (
        DistributedCollective(torch.device("cpu")),
        MapFolder(folder, rank, processes),
    )
    source = scene(scenario)
    work = RegionRefresh(source, EvidenceScorer(), shared, collective)
    _, maps = work.run(*work.run())
    found = maps.lookup(torch.arange(len(source)))
    report = {k: v for k, v in work.report.items() if not k.startswith("seconds")}
    write(folder, rank, maps=checksum(found), report=report, shape=maps.shape)
    dist.destroy_process_group()


def count_bytes() -> list[int]:
    """Note the size of whatever is given to a collective from now on."""
    sizes: list[int] = []

    def counted(function: Any, position: int) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            sizes.append(args[position].numel() * args[position].element_size())
            return function(*args, **kwargs)

        return call

    for name, position in (("all_reduce", 0), ("broadcast", 0), ("all_gather", 1)):
        setattr(dist, name, counted(getattr(dist, name), position))
    return sizes


class Normalising(Finder):
    """Has running statistics, which every process learns from its own batches."""

    def __init__(self) -> None:
        super().__init__()
        self.body.insert(1, nn.BatchNorm2d(8))

    def embed_pixels(self, batch: dict[str, Tensor]) -> PixelEmbeddings:
        self.embedded_with = self.body[1].running_mean.clone()
        return super().embed_pixels(batch)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, on_epoch=True, prog_bar=True, sync_dist=True)
        return loss


class Reporter(pl.Callback):
    """Writes the state of the callback and of the weights at the end of training."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        time.sleep(0.3 * trainer.global_rank)  # process 0 must not delete the maps meanwhile
        callback = next(c for c in trainer.callbacks if isinstance(c, ClusterReSupervision))
        targets = callback.lookup(torch.arange(30))
        assert callback.clusters is not None
        assert targets is not None
        write(
            self.folder,
            trainer.global_rank,
            checksum=checksum(*tensors(callback.clusters), targets),
            weights=checksum(*(p.detach() for p in pl_module.parameters())),
            embedded_with=checksum(pl_module.embedded_with),
            churn=callback.report["churn"],
            slices=callback.scorer.slices,
        )


def train(processes: int, folder: Path, strategy: str) -> None:
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    clustering = ClusterReSupervision(
        clustering=ClusteringOptions(n_clusters=8, n_clusterings=2), scorer=Counting()
    )
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=processes,
        strategy=strategy,
        # First the progress bar, which only the first process has: it reduces the logged loss.
        callbacks=[pl.callbacks.TQDMProgressBar(), clustering, Reporter(folder)],
        default_root_dir=folder,
        logger=pl.loggers.CSVLogger(folder / "logs"),
        log_every_n_steps=1,
        accumulate_grad_batches=2,
        precision="bf16-mixed",
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Normalising(), DataLoader(Squares(count=31), batch_size=4, shuffle=True))


class Sharded(Finder):
    """Serves every process slices of its own, as some shard their data by hand."""

    def train_dataloader(self) -> DataLoader[Any]:
        rank = self.trainer.global_rank
        return DataLoader(Subset(Squares(count=32), range(16 * rank, 16 * rank + 16)), batch_size=4)


def train_sharded(processes: int, folder: Path) -> None:
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        devices=processes,
        strategy="ddp_fork",
        use_distributed_sampler=False,
        callbacks=[ClusterReSupervision(clustering=ClusteringOptions(n_clusters=8))],
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    try:
        trainer.fit(Sharded())
    except mp.ProcessRaisedException as error:
        for rank in range(processes):
            write(folder, rank, error=str(error))


class Classifier(pl.LightningModule):
    """Knows nothing of clusters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return (self(batch["image"]) - batch["tags"]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)

    def on_train_end(self) -> None:
        callback = next(c for c in self.trainer.callbacks if isinstance(c, ClusterReSupervision))
        write(
            Path(self.trainer.default_root_dir),
            self.global_rank,
            checksum=checksum(*tensors(callback.clusters)),
            weights=checksum(*(p.detach() for p in self.parameters())),
            loss=float(self.trainer.callback_metrics["clusters/loss"]),
            slices=callback.scorer.slices,
        )


def train_classifier(processes: int, folder: Path) -> None:
    torch.set_num_threads(1)
    pl.seed_everything(0, verbose=False)
    clustering = ClusterReSupervision(
        clustering=ClusteringOptions(n_clusters=8, n_clusterings=2),
        scorer=Counting(),
        adapter=ClassifierAdapter(features="body"),
    )
    trainer = pl.Trainer(
        max_epochs=3,
        accelerator="cpu",
        devices=processes,
        strategy="ddp_fork",
        callbacks=[clustering],
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(Classifier(), DataLoader(Squares(count=31), batch_size=4, shuffle=True))


def main(folder: Path, scenarios: list[str]) -> None:
    warnings.simplefilter("ignore")
    for scenario in scenarios:
        name, processes = scenario.split("-")
        own = folder / scenario
        own.mkdir()
        if name in STRATEGIES:
            train(int(processes), own, STRATEGIES[name])
        elif name == "classifier":
            train_classifier(int(processes), own)
        elif name == "sharded":
            train_sharded(int(processes), own)
        else:
            arguments = (name, int(processes), own)
            work = divide if name == "regions" else refresh
            mp.start_processes(work, arguments, nprocs=int(processes), start_method="fork")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
