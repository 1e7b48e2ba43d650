"""Runs a path of the package on the CPU and on a pretended device; prints how they compare."""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor

from tests.comparators.conftest import KINDS, small
from tests.data.conftest import write_store
from tests.devices.device import DEVICE, DeviceTensor, PretendedDevice
from tests.training import quiet_trainer
from wsseg.clustering import ClusteringOptions, ClusterReSupervision, callback
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.evaluation import CaseEvaluation, case_metric
from wsseg.models import CamModule
from wsseg.models.seeding import StepSeeding
from wsseg.prediction.inference import predict_slices
from wsseg.segmentation import PseudoMasks, SegmentationModule
from wsseg.tracking.overlays import OverlayLogger
from wsseg.utils.distributed import DistributedCollective

Fit = Callable[[pl.Trainer, MRISliceDataModule, Path], pl.LightningModule]


class PretendedAccelerator(CPUAccelerator):
    """Lets Lightning train on a device that it does not know."""

    def setup_device(self, device: torch.device) -> None:
        """Accept it."""


class PretendedStrategy(SingleDeviceStrategy):
    """Notices what several processes would be sent."""

    def broadcast(self, obj: Any, src: int = 0) -> Any:
        """Refuse tensors that the others would unpickle on the GPU of the first one."""
        assert not isinstance(obj, DeviceTensor)
        return obj


class Nccl:
    """``torch.distributed`` of one process whose backend sends from GPUs only."""

    def __init__(self) -> None:
        self.sent = 0

    def instead_of_torch(self) -> Any:
        """Replace the functions of the same names for the length of a block."""
        names = [name for name in vars(Nccl) if hasattr(torch.distributed, name)]
        return patch.multiple(
            torch.distributed, **{name: getattr(self, name) for name in names if name[0] != "_"}
        )

    def get_rank(self, group: Any = None) -> int:
        return 0

    def get_world_size(self, group: Any = None) -> int:
        return 1

    def get_backend(self) -> str:
        return "nccl"

    def barrier(self, group: Any = None) -> None:
        pass

    def all_reduce(self, tensor: Tensor, op: Any = None) -> None:
        assert isinstance(tensor, DeviceTensor)
        assert tensor.is_contiguous()
        self.sent += 1

    def broadcast(self, tensor: Tensor, source: int) -> None:
        self.all_reduce(tensor)

    def all_gather(self, received: list[Tensor], tensor: Tensor, group: Any = None) -> None:
        self.all_reduce(tensor)
        received[0].copy_(tensor)

    def broadcast_object_list(self, box: list[Any], source: int, device: torch.device) -> None:
        assert device == DEVICE
        assert not any(isinstance(each, Tensor) for each in box)


def trainer(folder: Path, on_device: bool, epochs: int = 2) -> pl.Trainer:
    there: dict[str, Any] = {
        "strategy": PretendedStrategy(device=DEVICE),
        "accelerator": PretendedAccelerator(),
    }
    return quiet_trainer(
        max_epochs=epochs,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        callbacks=[StepSeeding(), CaseEvaluation()],
        **(there if on_device else {}),
    )


def clustered_cam(by: pl.Trainer, data: MRISliceDataModule) -> CamModule:
    options = ClusteringOptions(n_clusters=6, n_clusterings=2)
    clustering = ClusterReSupervision(warmup_epochs=0, clustering=options)
    by.callbacks += [clustering, OverlayLogger(1, 2)]  # type: ignore[attr-defined]
    return CamModule(data.spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8), mask_ratio=0.1)


def first_stage(by: pl.Trainer, data: MRISliceDataModule, folder: Path) -> pl.LightningModule:
    """All that the command line adds, and masks to validate with."""
    module = clustered_cam(by, data)
    by.fit(module, data)
    return module


def resumed_in_a_group(
    by: pl.Trainer, data: MRISliceDataModule, folder: Path
) -> pl.LightningModule:
    """From a checkpoint of the CPU, as one of several processes that talk by NCCL."""
    nccl, module = Nccl(), clustered_cam(by, data)
    with ExitStack() as patches:
        if by.strategy.root_device == DEVICE:
            patches.enter_context(nccl.instead_of_torch())
            for user in (callback, case_metric):
                patched = patch.object(user, "current_collective", DistributedCollective)
                patches.enter_context(patched)
        by.fit(module, data, ckpt_path=folder / "first.ckpt", weights_only=True)
    assert nccl.sent or by.strategy.root_device != DEVICE
    return module


def second_stage(by: pl.Trainer, data: MRISliceDataModule, folder: Path) -> pl.LightningModule:
    targets = PseudoMasks(str(folder / "first.ckpt"), low=0.1, high=0.1)
    settings: dict[str, Any] = {"widths": (4, 8, 8), "correct_from": 0.5}
    module = SegmentationModule(data.spec.to_dict(), targets, **settings)
    by.fit(module, data)
    return module


def comparator(kind: Any) -> Fit:
    def fit(by: pl.Trainer, data: MRISliceDataModule, folder: Path) -> pl.LightningModule:
        module = small(kind, data.spec.to_dict())
        by.fit(module, data)
        return module

    return fit


PATHS: dict[str, Fit] = {
    **{each.__name__: each for each in (first_stage, resumed_in_a_group, second_stage)},
    **{kind.__name__: comparator(kind) for kind in KINDS},
}


def add_class(store: Path) -> None:
    """Give every second tagged slice an inner class: some methods need two."""
    path = store / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["spec"]["classes"] = {"tumour": [1, 2], "core": [1]}
    for case in manifest["cases"]:
        tagged = np.array(case["tags"])[:, 0]
        inner = tagged * (tagged.cumsum() % 2)
        case["tags"] = np.stack((tagged, inner), axis=1).tolist()
        file = store / "masks" / f"{case['id']}.npy"
        mask = np.load(file)
        np.save(file, np.concatenate((mask, mask & (inner > 0)[:, None, None, None]), axis=1))
    path.write_text(json.dumps(manifest))


def prepare(folder: Path) -> Path:
    """Write a store, and the checkpoint of a first stage of the CPU."""
    store = write_store(folder / "store", size=16)
    add_class(store)
    by, data = trainer(folder, on_device=False, epochs=1), MRISliceDataModule(str(store))
    by.fit(clustered_cam(by, data), data)
    by.save_checkpoint(folder / "first.ckpt")
    return store


def both(fit: Fit, store: Path) -> dict[str, Any]:
    """Train twice; return what the device changed, and where its steps waited for it."""

    def run(on_device: bool) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
        pl.seed_everything(0, verbose=False)
        data = MRISliceDataModule(str(store), batch_size=16)
        by = trainer(store.parent, on_device)
        module = fit(by, data, store.parent)
        by.test(module, data, verbose=False)
        module.to(DEVICE if on_device else "cpu")  # Lightning moves it back
        batch = data.test_set.__getitems__(range(5))  # type: ignore[union-attr]
        found = predict_slices(module.eval(), batch["image"], batch["valid"], batch_size=3)
        weights = {name: value.cpu().double() for name, value in module.state_dict().items()}
        return weights, {name: value.cpu() for name, value in by.callback_metrics.items()}, found

    weights, scores, expected = run(on_device=False)
    with PretendedDevice() as device:
        moved, same_scores, found = run(on_device=True)
    return {
        "weights": max(float((moved[name] - weights[name]).abs().max()) for name in weights),
        "scores": max(abs(float(same_scores[name] - scores[name])) for name in scores),
        "prediction": float((found - expected).abs().max()),
        "spread": float(expected.std()),
        "operations": device.operations,
        "waits": sorted(device.in_steps),
    }


def check_the_device() -> None:
    """See that it refuses what it should; else all would pass."""
    with PretendedDevice() as device:
        there, here = torch.ones(2, device=DEVICE), torch.ones(2)
        assert (there + torch.tensor(1.0)).tolist() == [2.0, 2.0]
        for refused in (lambda: there + here, lambda: here[there.long()], lambda: there.numpy()):
            try:
                refused()
            except (RuntimeError, TypeError):
                continue
            raise AssertionError("the device allows what a GPU refuses")
    assert device.operations


def main(names: list[str]) -> None:
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    check_the_device()
    with tempfile.TemporaryDirectory() as folder:
        store = prepare(Path(folder))
        for name in names:
            try:
                found = both(PATHS[name], store)
            except Exception:
                found = {"error": traceback.format_exc()}
            print(json.dumps({"path": name, **found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(PATHS))
