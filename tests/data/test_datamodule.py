"""The data module: the batch contract, the order of training, and the wall before the masks."""

from __future__ import annotations

import ast
import builtins
import gc
import importlib.util
import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from tests.training import quiet_trainer
from wsseg.data.datamodule import FEWEST_PICTURES, MRISliceDataModule, trained_on
from wsseg.data.loading import training_loader
from wsseg.utils.errors import InputError

MakeStore = Callable[..., Path]


def fit_module(root: Path, **options: Any) -> MRISliceDataModule:
    """A data module set up for training."""
    module = MRISliceDataModule(str(root), **options)
    module.setup("fit")
    return module


class Recorder(pl.LightningModule):
    """Trains one weight and writes down which slices it saw, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[tuple[int, list[int]]] = []

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        self.seen.append((self.current_epoch, batch["index"].tolist()))
        return (self.weight * batch["image"].mean()).sum()

    def validation_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        assert "mask" in batch

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def record(root: Path, folder: Path, epochs: int, **options: Any) -> tuple[Recorder, pl.Trainer]:
    """Train a recorder on a store, with a checkpoint after every batch and every epoch."""
    ckpt_path = options.pop("ckpt_path", None)
    workers = options.pop("num_workers", 0)
    pl.seed_everything(options.pop("seed", 3), verbose=False)
    checkpoints = pl.callbacks.ModelCheckpoint(
        folder, "{step}", save_top_k=-1, every_n_train_steps=1, save_last=True
    )
    trainer = quiet_trainer(
        max_epochs=epochs, callbacks=[checkpoints], enable_checkpointing=True, **options
    )
    recorder = Recorder()
    module = MRISliceDataModule(str(root), batch_size=10, num_workers=workers)
    trainer.fit(recorder, module, ckpt_path=ckpt_path)
    return recorder, trainer


def test_batches_keep_the_contract(make_store: MakeStore, tmp_path: Path) -> None:
    module = fit_module(make_store(tmp_path), batch_size=4)
    assert module.spec.modalities == ("FLAIR", "T1")
    batch = next(iter(module.train_dataloader()))
    assert {key: (tuple(value.shape), value.dtype) for key, value in batch.items()} == {
        "image": ((4, 2, 32, 32), torch.float32),
        "tags": ((4, 1), torch.float32),
        "valid": ((4, 32, 32), torch.bool),
        "index": ((4,), torch.int64),
        "case": ((4,), torch.int64),
        "level": ((4,), torch.int64),
    }
    assert not batch["image"][~batch["valid"][:, None].expand_as(batch["image"])].any()


def test_batches_hold_what_the_store_holds(make_store: MakeStore, tmp_path: Path) -> None:
    module = MRISliceDataModule(str(make_store(tmp_path)), eval_batch_size=5)
    module.setup("test")
    batches = list(module.test_dataloader())
    for key, folder in (("image", "images"), ("valid", "valid"), ("mask", "masks")):
        stored = np.concatenate([np.load(tmp_path / folder / f"{case}.npy") for case in "fg"])
        served = torch.cat([batch[key] for batch in batches])
        np.testing.assert_array_equal(served.numpy(), stored)
    index = torch.cat([batch["index"] for batch in batches])
    assert index.tolist() == list(range(6 + 7 + 8 + 9 + 10, 6 + 7 + 8 + 9 + 10 + 11 + 12))
    assert set(torch.cat([batch["case"] for batch in batches]).tolist()) == {5, 6}


def test_an_epoch_serves_every_slice_once(make_store: MakeStore, tmp_path: Path) -> None:
    module = fit_module(make_store(tmp_path), batch_size=4)
    index = torch.cat([batch["index"] for batch in module.train_dataloader()])
    assert sorted(index.tolist()) == list(range(6 + 7 + 8 + 9))
    assert index.tolist() != sorted(index.tolist())


def test_processes_share_out_slices_that_are_repeated(
    make_store: MakeStore, tmp_path: Path
) -> None:
    dataset = fit_module(make_store(tmp_path)).train_set
    assert dataset is not None
    loaders = [
        training_loader(dataset, 4, 0, seed=0, repeats=3, replicas=2, rank=rank)
        for rank in range(2)
    ]
    first, second = (torch.cat([batch["index"] for batch in loader]) for loader in loaders)
    assert len(first) == len(second)
    assert (torch.cat((first, second)).bincount() == 3).all()


def test_few_pictures_are_repeated_within_an_epoch(make_store: MakeStore, tmp_path: Path) -> None:
    module = fit_module(make_store(tmp_path), batch_size=16)
    scans = len(module.train_dataloader())
    module.spec = replace(module.spec, plan=replace(module.spec.plan, normalisation="picture"))
    assert len(module.train_dataloader()) >= FEWEST_PICTURES / 16 > scans


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(make_store: MakeStore, tmp_path: Path, workers: int) -> None:
    root = make_store(tmp_path)
    pl.seed_everything(1, verbose=False)
    here = list(fit_module(root).train_dataloader())
    there = list(fit_module(root, num_workers=workers).train_dataloader())
    for one, other in zip(here, there, strict=True):
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_passes_leave_the_global_generator_alone(make_store: MakeStore, tmp_path: Path) -> None:
    module = fit_module(make_store(tmp_path))
    torch.manual_seed(0)
    for batch in (*module.train_dataloader(), *module.val_dataloader()):
        assert len(batch["index"])
    after = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(after, torch.rand(1))


def test_order_follows_the_seed_and_the_epoch(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store(tmp_path / "store")
    first, _ = record(root, tmp_path / "1", 3)
    again, _ = record(root, tmp_path / "2", 3)
    other, _ = record(root, tmp_path / "3", 3, seed=4)
    assert first.seen == again.seen
    assert first.seen != other.seen
    orders = [[i for epoch, ids in first.seen if epoch == e for i in ids] for e in range(3)]
    assert len({tuple(order) for order in orders}) == 3
    assert len({tuple(sorted(order)) for order in orders}) == 1


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("step", [1, 2, 3, 4, 5, 6, 7])
def test_a_resumed_run_sees_what_an_uninterrupted_one_sees(
    make_store: MakeStore, tmp_path: Path, step: int, workers: int
) -> None:
    root = make_store(tmp_path / "store")
    whole, _ = record(root, tmp_path / "whole", 3)
    checkpoint = tmp_path / "whole" / f"step={step}.ckpt"
    resumed, trainer = record(
        root, tmp_path / "resumed", 3, ckpt_path=checkpoint, seed=99, num_workers=workers
    )
    assert resumed.seen == whole.seen[step:]
    assert torch.equal(resumed.weight, whole.weight)
    assert trainer.global_step == len(whole.seen)


def test_a_run_stopped_at_an_epoch_goes_on(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store(tmp_path / "store")
    whole, _ = record(root, tmp_path / "whole", 4, limit_train_batches=2)
    record(root, tmp_path / "part", 2, limit_train_batches=2)
    last = tmp_path / "part" / "last.ckpt"
    resumed, _ = record(root, tmp_path / "more", 4, limit_train_batches=2, ckpt_path=last)
    assert resumed.seen == whole.seen[4:]


def test_training_never_opens_the_mask_tree(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_store(tmp_path)
    opened: list[str] = []
    for holder, name in ((builtins, "open"), (os, "open"), (np, "load")):
        function = getattr(holder, name)

        def spy(path: Any, *args: Any, _call: Any = function, **kwargs: Any) -> Any:
            opened.append(str(path))
            return _call(path, *args, **kwargs)

        monkeypatch.setattr(holder, name, spy)
    module = fit_module(root)
    assert len(list(module.train_dataloader())) > 0
    assert any("images" in path for path in opened)
    assert not [path for path in opened if "masks" in path]


def imported_by(name: str) -> set[str]:
    """Modules of wsseg.data that a module imports, itself and by way of others."""
    found, waiting = set(), {name}
    while waiting:
        found.add(module := waiting.pop())
        tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text())  # type: ignore[union-attr,arg-type]
        names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        waiting |= {each for each in names if each and each.startswith("wsseg.data.")} - found
    return found


def test_training_code_has_no_word_for_masks() -> None:
    """Nor has what it imports; but the specification tells which labels of masks make a class."""
    files = imported_by("wsseg.data.loading")
    assert {"wsseg.data.dataset", "wsseg.data.store", "wsseg.data.store_files"} < files
    for name in files - {"wsseg.data.spec"}:
        tree = ast.parse(Path(importlib.util.find_spec(name).origin).read_text())  # type: ignore[union-attr,arg-type]
        docstrings = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and isinstance(node.body[0], ast.Expr)
        }
        for node in ast.walk(tree):
            words = [
                getattr(node, field, None) for field in ("id", "name", "attr", "arg", "module")
            ]
            if isinstance(node, ast.Constant) and id(node) not in docstrings:
                words.append(node.value)
            assert not [word for word in words if isinstance(word, str) and "mask" in word.lower()]


def test_training_is_the_same_without_the_mask_tree(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store(tmp_path)
    pl.seed_everything(5, verbose=False)
    before = list(fit_module(root, batch_size=7).train_dataloader())
    shutil.rmtree(root / "masks")
    after = list(fit_module(root, batch_size=7).train_dataloader())
    for one, other in zip(before, after, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[key], other[key]) for key in one)


def test_evaluation_without_masks_serves_tags(make_store: MakeStore, tmp_path: Path) -> None:
    module = fit_module(make_store(tmp_path, masks=False))
    module.setup("test")
    for loader in (module.val_dataloader(), module.test_dataloader()):
        for batch in loader:
            assert "mask" not in batch
            assert batch["tags"].any()


def test_cases_without_a_mask_are_not_scored(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store(tmp_path)
    (root / "masks" / "f.npy").unlink()
    module = MRISliceDataModule(str(root))
    with pytest.warns(UserWarning, match="1 of 2 test cases"):
        module.setup("test")
    assert {int(i) for batch in module.test_dataloader() for i in batch["case"]} == {6}


def test_an_empty_validation_split_does_not_stop_training(
    make_store: MakeStore, tmp_path: Path
) -> None:
    split = {"train": list("abcd"), "val": [], "test": ["e"]}
    root = make_store(tmp_path / "store", split=split)
    recorder, _ = record(root, tmp_path / "run", 1)
    assert recorder.seen


def test_a_case_in_two_splits_is_refused(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store(tmp_path, split={"train": ["a", "b"], "val": ["c"], "test": ["b"]})
    with pytest.raises(InputError, match="fold 0 names case b twice"):
        MRISliceDataModule(str(root))


def test_missing_store_says_to_prepare(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere.*wsseg prepare"):
        MRISliceDataModule(str(tmp_path / "nowhere"))


def test_fold_out_of_range_names_the_range(make_store: MakeStore, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="fold 3"):
        MRISliceDataModule(str(make_store(tmp_path)), fold=3)


@pytest.mark.parametrize(
    ("split", "stage"), [("train", "fit"), ("val", "validate"), ("test", "test")]
)
def test_empty_split_is_named(
    make_store: MakeStore, tmp_path: Path, split: str, stage: str
) -> None:
    split_cases = {"train": ["a"], "val": ["b"], "test": ["c"]} | {split: []}
    module = MRISliceDataModule(str(make_store(tmp_path, split=split_cases)))
    with pytest.raises(InputError, match=f"no {split} case"):
        module.setup(stage)


@pytest.mark.parametrize(("tagged", "missing"), [(True, "untagged"), (False, "tagged")])
def test_training_needs_both_kinds_of_slices(
    make_store: MakeStore, tmp_path: Path, tagged: bool, missing: str
) -> None:
    module = MRISliceDataModule(str(make_store(tmp_path, tagged=tagged)))
    with pytest.raises(InputError, match=f"is {missing} `tumour`"):
        module.setup("fit")


def test_a_missing_array_is_named(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store(tmp_path)
    module = fit_module(root)
    (root / "images" / "b.npy").unlink()
    (root / "images" / "a.npy").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"[ab]\.npy"):
        list(module.train_dataloader())


def test_a_store_that_was_replaced_is_read_anew(make_store: MakeStore, tmp_path: Path) -> None:
    """Within one process, as in a notebook; nothing of the old one stays open."""
    for size in (16, 32):
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
        module = fit_module(make_store(tmp_path / "store", size=size))
        batch = next(iter(module.train_dataloader()))
        assert batch["image"].shape[-2:] == (size, size)
        again = pickle.loads(pickle.dumps(module.train_set))
        assert torch.equal(again[0]["image"], module.train_set[0]["image"])  # type: ignore[index]
        del module, batch, again
        gc.collect()
        assert str(tmp_path) not in Path("/proc/self/maps").read_text()


def test_manifest_is_json_with_the_spec(make_store: MakeStore, tmp_path: Path) -> None:
    root = make_store(tmp_path, modalities=("T1",))
    assert json.loads((root / "manifest.json").read_text())["spec"]["modalities"] == ["T1"]
    assert MRISliceDataModule(str(root)).spec.modalities == ("T1",)


@pytest.mark.parametrize(
    "change", [{"batch_size": 0}, {"eval_batch_size": -1}, {"num_workers": -1}], ids=str
)
def test_numbers_out_of_range(tmp_path: Path, change: dict[str, int]) -> None:
    (name, value), *_ = change.items()
    with pytest.raises(InputError, match=f"--data.{name} {value}: must be at least"):
        MRISliceDataModule(str(tmp_path), **change)  # type: ignore[arg-type]


class Mine(MRISliceDataModule):
    """A user's own."""


@pytest.mark.parametrize("kind", [MRISliceDataModule, Mine])
def test_a_checkpoint_tells_what_it_was_trained_on(
    kind: type[MRISliceDataModule], make_store: MakeStore, tmp_path: Path
) -> None:
    data = kind(str(make_store(tmp_path)))
    checkpoint = {"epoch": 3, "callbacks": {}, kind.__qualname__: data.state_dict()}
    assert trained_on(checkpoint, data.splits["train"]) == ["a", "b", "c", "d"]
    assert trained_on(checkpoint, data.splits["test"]) == []
    assert trained_on({"epoch": 3}, data.splits["train"]) == []


def test_what_a_run_continues_was_trained_on_counts_as_its_own(
    make_store: MakeStore, tmp_path: Path
) -> None:
    data = MRISliceDataModule(str(make_store(tmp_path)))
    data.load_state_dict({"order_seed": 3, "trained_on": ["elsewhere", "a-0"]})
    assert set(data.state_dict()["trained_on"]) == {
        "elsewhere",
        *(case.source for case in data.splits["train"]),
        "a-0",
    }
