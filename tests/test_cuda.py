"""What only a real GPU can show; ``test_devices.py`` has the rest, on any machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.distributed as dist

from tests.clustering.test_kmeans import blobs
from tests.comparators.conftest import KINDS, batch, small
from tests.data.conftest import write_store
from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.clustering import ClusteringOptions, ClusterReSupervision, kmeans
from wsseg.clustering.kmeans import assign, fit_kmeans, load_faiss
from wsseg.comparators import ReferenceCrs
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.spec import Batch
from wsseg.models import CamModule, Optimisation
from wsseg.prediction.inference import predict_slices
from wsseg.utils.distributed import DistributedCollective

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU that torch can use"
)
needs_gpu_faiss = pytest.mark.skipif(
    not hasattr(load_faiss(), "StandardGpuResources"), reason="this faiss is for the CPU only"
)
GPU = torch.device("cuda", 0)


def test_kmeans_is_that_of_the_cpu_and_repeats() -> None:
    points = blobs()
    there, again = (fit_kmeans(points.to(GPU), 6, 3, 5) for _ in range(2))
    assert there.device == GPU
    assert torch.equal(there, again)
    assert torch.allclose(there.cpu(), fit_kmeans(points, 6, 3, 5), atol=1e-3)


@needs_gpu_faiss
def test_faiss_takes_little_of_the_gpu() -> None:
    """Else it takes 1.5 GiB for itself as long as it lives."""
    points = torch.randn(50_000, 28, device=GPU)
    fit_kmeans(points, 64, 0, 1, backend="faiss")  # what the first loads, such as cuBLAS, stays
    free = torch.cuda.mem_get_info()[0]
    kmeans._faiss_memory.cache_clear()
    fit_kmeans(points, 64, 0, 1, backend="faiss")
    assert free - torch.cuda.mem_get_info()[0] < 4 * kmeans.FAISS_BYTES


@needs_gpu_faiss
def test_faiss_finds_what_torch_finds_and_repeats() -> None:
    points = blobs().to(GPU)
    one, again = (fit_kmeans(points, 6, 3, 5, backend="faiss") for _ in range(2))
    assert one.device == GPU
    assert torch.equal(one, again)
    assert torch.allclose(one, fit_kmeans(points, 6, 3, 5, backend="torch"), atol=1e-3)


def test_pixels_have_the_clusters_that_they_have_on_the_cpu() -> None:
    draw = torch.Generator().manual_seed(0)
    points = torch.randn(30_000, 28, generator=draw)
    centroids = torch.randn(4, 64, 28, generator=draw)
    there = assign(points.to(GPU), centroids.to(GPU)).cpu()
    assert (there == assign(points, centroids)).double().mean() > 0.9999  # but for ties


@pytest.fixture
def nccl(tmp_path: Path) -> Iterator[DistributedCollective]:
    where = f"file://{tmp_path / 'meeting'}"
    dist.init_process_group("nccl", init_method=where, rank=0, world_size=1, device_id=GPU)
    yield DistributedCollective(GPU)
    dist.destroy_process_group()


def test_nccl_carries_what_clustering_sends(nccl: DistributedCollective) -> None:
    """It sends from GPUs only; the statistics of clusters are on either side."""
    for device in (GPU, torch.device("cpu")):
        values = torch.arange(6.0, device=device).view(3, 2)
        for sent in (nccl.sum(values), nccl.gather(values), nccl.broadcast(values)):
            assert sent.device == values.device
            assert torch.equal(sent, values)
    assert nccl.maximum(3) == 3
    assert nccl.broadcast_text("where maps are") == "where maps are"
    with nccl.together("a block"):
        pass


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
def test_a_first_stage_trains_and_predicts_as_on_the_cpu(tmp_path: Path, precision: Any) -> None:
    """The same weights have the same probabilities on both sides."""
    store = write_store(tmp_path / "store")
    pl.seed_everything(0, verbose=False)
    data = MRISliceDataModule(str(store), batch_size=8)
    options = ClusteringOptions(n_clusters=6, n_clusterings=2)
    clustering = ClusterReSupervision(warmup_epochs=1, clustering=options)
    trainer = quiet_trainer(
        accelerator="gpu",
        devices=1,
        max_epochs=4,
        precision=precision,
        default_root_dir=tmp_path,
        callbacks=[clustering],
    )
    trainer.fit(CamModule(data.spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8)), data)
    assert clustering.report["relevant_area"] > 0
    assert clustering.clusters is not None
    trainer.save_checkpoint(tmp_path / "last.ckpt")

    module = load_module(tmp_path / "last.ckpt").eval()
    data.setup("test")
    slices = data.test_set.__getitems__(range(6))  # type: ignore[union-attr]
    image, valid = slices["image"], slices["valid"]
    here = predict_slices(module, image, valid, batch_size=3)
    there = predict_slices(module.to(GPU), image, valid, batch_size=3)
    assert here.std() > 0
    assert torch.allclose(there.cpu(), here, atol=0.01)  # convolutions round to TF32


def test_maps_of_the_gpu_are_those_of_the_cpu(tmp_path: Path) -> None:
    """Of the same weights, which do not learn."""
    store = write_store(tmp_path / "store", slices=12)
    maps = {}
    for accelerator in ("cpu", "gpu"):
        pl.seed_everything(0, verbose=False)
        data = MRISliceDataModule(str(store), batch_size=8)
        options = ClusteringOptions(n_clusters=16)
        clustering = ClusterReSupervision(warmup_epochs=0, clustering=options)
        trainer = quiet_trainer(
            accelerator=accelerator,
            devices=1,
            max_epochs=1,
            limit_train_batches=1,
            default_root_dir=tmp_path / accelerator,
            callbacks=[clustering, Snapshot(maps, accelerator)],
        )
        trainer.fit(CamModule(data.spec.to_dict(), optimisation=Optimisation(lr=0.0)), data)
    here, there = maps["cpu"], maps["gpu"]
    assert (here > 0).any()
    assert (here - there).abs().mean() < 0.02


class Snapshot(pl.Callback):
    """Keeps the first maps."""

    def __init__(self, maps: dict[str, torch.Tensor], name: str) -> None:
        self.maps, self.name = maps, name

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        (clustering,) = [each for each in trainer.callbacks if hasattr(each, "lookup")]
        found = clustering.lookup(trainer.train_dataloader.dataset.index)
        self.maps[self.name] = found.clamp_min(0)


def there(of: Batch) -> Batch:
    return {name: value.to(GPU) for name, value in of.items()}  # type: ignore[return-value, attr-defined]


def modules() -> dict[str, Any]:
    """A factory for every module whose step must not wait."""
    spec = small(KINDS[0]).hparams["spec"]
    narrow = {"widths": (4, 8), "embedding_widths": (4, 8)}
    found = {kind.__name__: (lambda kind=kind: small(kind)) for kind in KINDS}
    del found[ReferenceCrs.__name__]  # clusters every batch
    return found | {
        "CamModule": lambda: CamModule(spec, **narrow),
        "CamModule, masked": lambda: CamModule(spec, **narrow, mask_ratio=0.1),
    }


@pytest.mark.parametrize("name", modules())
def test_a_step_never_waits_for_the_gpu(name: str) -> None:
    """torch says so where it knows that the host waits."""
    module = modules()[name]().to(GPU).train()
    module.log = module.log_dict = lambda *_, **__: None
    given = there(batch())
    given["cluster_map"] = torch.where(given["valid"], 0.0, -1.0)[:, None].repeat(1, 2, 1, 1)  # type: ignore[typeddict-unknown-key]
    module.training_step(given, 0).backward()  # what the first step sets up may wait
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        module.training_step(given, 1).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
