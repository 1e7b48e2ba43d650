"""Pseudo-masks in a training: what they are made of, and that they come back after a break."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from tests.segmentation.conftest import SPEC, Bright, make_trainer
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.models import CamModule
from wsseg.models.seeding import StepSeeding
from wsseg.segmentation import PseudoMasks, SegmentationModule
from wsseg.segmentation.pseudo_masks import count_targets
from wsseg.utils.errors import InputError

Make = Callable[..., SegmentationModule]


class Keep(pl.Callback):
    """Keeps the targets of all batches."""

    def __init__(self) -> None:
        self.targets: dict[int, torch.Tensor] = {}
        self.logged: dict[str, float] = {}

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.targets |= dict(zip(batch["index"].tolist(), batch["target"], strict=True))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.logged |= {name: float(value) for name, value in trainer.callback_metrics.items()}


def train(
    module: SegmentationModule,
    store: Path,
    folder: Path,
    epochs: int = 1,
    keep: Keep | None = None,
    **more: Any,
) -> Keep:
    keep = keep or Keep()
    trainer = make_trainer(folder, epochs, callbacks=[keep])
    pl.seed_everything(0, verbose=False)
    trainer.fit(module, MRISliceDataModule(str(store), batch_size=8), weights_only=True, **more)
    trainer.save_checkpoint(folder / f"epoch{epochs}.ckpt")
    return keep


def weights(module: SegmentationModule) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in module.teacher.parameters()])


def test_targets_are_what_the_first_stage_says(
    small: Make, store: Path, bright: Path, tmp_path: Path
) -> None:
    """Written out: both mirror images averaged, two thresholds, tags, empty slices."""
    source = PseudoMasks(
        str(bright),
        pixel_smoothing=0,
        slice_smoothing=0,
        refinement=0,
        low=0.3,
        high=0.5,
    )
    keep = train(small(targets=source), store, tmp_path)
    data = MRISliceDataModule(str(store))
    data.setup("fit")
    assert data.train_set is not None
    batch = data.train_set.__getitems__(range(len(data.train_set)))
    first, image, valid = Bright(SPEC), batch["image"], batch["valid"]
    mirrored = first(image.flip(-1), valid.flip(-1)).flip(-1)
    probability = (first(image, valid) + mirrored) / 2
    assert sorted(keep.targets) == batch["index"].tolist()
    for row, index in enumerate(batch["index"].tolist()):
        found, inside = keep.targets[index][0][valid[row]], probability[row, 0][valid[row]]
        if not batch["tags"][row]:
            assert not keep.targets[index].any()
            continue
        clear = ((inside - 0.3).abs() > 0.003) & ((inside - 0.5).abs() > 0.003)  # one byte each
        expected = torch.where(inside > 0.5, 1.0, torch.where(inside > 0.3, -1.0, 0.0))
        assert torch.equal(found[clear], expected[clear])
    assert 0 < keep.logged["pseudo_masks/relevant"] < 0.5
    assert 0 < keep.logged["pseudo_masks/ignored"] < 0.5
    assert keep.logged["pseudo_masks/empty_slices"] == 0


def test_untagged_slices_do_not_say_what_lesions_look_like(
    small: Make, store: Path, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[torch.Tensor] = []

    def watched(probability: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        given.append(probability)
        return probability

    monkeypatch.setattr("wsseg.segmentation.pseudo_masks.refine_classes", watched)
    train(small(targets=PseudoMasks(str(bright))), store, tmp_path)
    assert len(given) == 4
    assert all(each[1::2].any() and not each[::2].any() for each in given)


def test_the_folder_is_cleared_also_after_an_error(
    small: Make, store: Path, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = small(targets=PseudoMasks(str(bright)))
    train(module, store, tmp_path)
    assert not (tmp_path / "cluster_maps").exists()
    monkeypatch.setattr(module, "on_train_batch_end", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(module, store, tmp_path)
    assert not (tmp_path / "cluster_maps").exists()


def test_training_does_not_depend_on_true_masks(
    small: Make, store: Path, bright: Path, tmp_path: Path
) -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(0)
        module = small(targets=PseudoMasks(str(bright)))
        train(module, store, tmp_path, epochs=2)
        results.append(weights(module))
        shutil.rmtree(store / "masks", ignore_errors=True)
    assert torch.equal(*results)


def test_a_resumed_run_is_as_if_never_interrupted(
    small: Make, store: Path, bright: Path, tmp_path: Path
) -> None:
    results = []
    for parts in ((4,), (2, 4)):
        path = None
        for until in parts:
            torch.manual_seed(0 if path is None else 1)  # a resumed run starts from its checkpoint
            module = small(targets=PseudoMasks(str(bright)))
            trainer = make_trainer(tmp_path, 4, callbacks=[StepSeeding(), Stop(until)])
            pl.seed_everything(0, verbose=False)
            data = MRISliceDataModule(str(store), batch_size=8)
            trainer.fit(module, data, ckpt_path=path, weights_only=True)
            path = tmp_path / "last.ckpt"
            trainer.save_checkpoint(path)
        results.append(weights(module))
    assert torch.equal(*results)


class Stop(pl.Callback):
    """Interrupts a run at the end of an epoch."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        trainer.should_stop = trainer.current_epoch + 1 >= self.epochs


def test_resuming_from_another_first_stage_is_announced(
    small: Make, store: Path, bright: Path, tmp_path: Path
) -> None:
    train(small(targets=PseudoMasks(str(bright))), store, tmp_path)
    torch.save({"state_dict": {}, "epoch": 9}, bright)
    module = small(targets=PseudoMasks(str(bright)))
    with pytest.warns(UserWarning, match="is not the checkpoint that this run began with"):
        train(module, store, tmp_path, epochs=2, ckpt_path=tmp_path / "epoch1.ckpt")


def test_a_first_stage_that_finds_nothing_is_announced(
    small: Make, store: Path, bright: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blind = Bright(SPEC, bias=50)
    monkeypatch.setattr("wsseg.segmentation.pseudo_masks.load_module", lambda _: blind)
    with pytest.warns(UserWarning, match="finds nothing in any tagged slice"):
        keep = train(small(targets=PseudoMasks(str(bright))), store, tmp_path)
    assert keep.logged["pseudo_masks/empty_slices"] == 1
    assert keep.logged["pseudo_masks/ignored"] == 1


def test_what_is_no_first_stage_is_refused_before_anything_is_written(
    small: Make, store: Path, tmp_path: Path
) -> None:
    module = small(targets=PseudoMasks(str(tmp_path / "absent.ckpt")))
    run = tmp_path / "run"
    with pytest.raises(InputError, match=r"absent\.ckpt: does not exist"):
        make_trainer(run).fit(module, MRISliceDataModule(str(store)))
    assert not run.exists()


def test_a_first_stage_of_other_modalities_is_refused(
    small: Make, store: Path, tmp_path: Path
) -> None:
    spec = {**SPEC.to_dict(), "modalities": ["T1", "T2"]}
    first = CamModule(spec, widths=(4, 8), embedding_widths=(4, 8))
    content = {"state_dict": first.state_dict(), "hyper_parameters": dict(first.hparams)}
    content |= {"class_path": "wsseg.models.CamModule", "pytorch-lightning_version": pl.__version__}
    torch.save(content, tmp_path / "other.ckpt")
    module = small(targets=PseudoMasks(str(tmp_path / "other.ckpt")))
    with pytest.raises(InputError, match="was trained on the modalities T1, T2"):
        make_trainer(tmp_path).fit(module, MRISliceDataModule(str(store)))


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_first_stage_that_was_trained_on_held_out_cases_is_refused(
    store: Path, bright: Path, split: str
) -> None:
    data = MRISliceDataModule(str(store))
    held_out = data.splits[split][0]
    state = {"trained_on": [held_out.source]}
    torch.save({"state_dict": {}, "MRISliceDataModule": state}, bright)
    with pytest.raises(InputError, match=f"was trained on case {held_out.id}, which fold 0"):
        PseudoMasks(str(bright)).check(data)


def test_loaders_alone_are_refused(small: Make, bright: Path, store: Path, tmp_path: Path) -> None:
    data = MRISliceDataModule(str(store))
    data.setup("fit")
    with pytest.raises(InputError, match="give the trainer an MRISliceDataModule"):
        make_trainer(tmp_path).fit(small(targets=PseudoMasks(str(bright))), data.train_dataloader())


def test_slices_that_are_not_trained_on_have_no_target(
    small: Make, store: Path, bright: Path, tmp_path: Path
) -> None:
    source = PseudoMasks(str(bright))
    found: list[torch.Tensor | None] = []
    module = small(targets=source)
    end = lambda *_: found.append(source.lookup(torch.tensor([0, 40, 10_000])))  # noqa: E731
    module.on_train_batch_end = end  # type: ignore[method-assign]
    train(module, store, tmp_path)
    assert found[0] is not None
    assert (found[0][0] == 0).all()  # the first slice of a store is not tagged
    assert (found[0][1:] == -1).all()
    assert source.lookup(torch.tensor([0])) is None


@pytest.mark.parametrize(
    "settings",
    [{"low": 0.6}, {"high": 1.0}, {"low": -0.1}, {"slice_smoothing": -1.0}, {"reach": -1}],
)
def test_refuses(settings: dict[str, float]) -> None:
    words = "low and high must satisfy" if {"low", "high"} & set(settings) else "must be at least 0"
    with pytest.raises(ValueError, match=rf"--model\.targets: .*{words}"):
        PseudoMasks("x.ckpt", **settings)  # type: ignore[arg-type]


def test_counts() -> None:
    target = torch.zeros(3, 1, 2, 2)
    target[1, 0, 0] = torch.tensor([1.0, -1.0])
    target[2] = -1
    valid = torch.ones(3, 2, 2, dtype=torch.bool)
    valid[2, 0] = False
    tags = torch.tensor([[0.0], [1.0], [1.0]])
    assert count_targets(target, valid, tags).tolist() == [6, 1, 3, 2, 1]


def test_what_the_first_stage_was_trained_on_counts_as_the_second_stages_own(
    small: Make, store: Path, bright: Path, tmp_path: Path
) -> None:
    state = {"order_seed": 0, "trained_on": ["elsewhere"]}
    torch.save({"state_dict": {}, "MRISliceDataModule": state}, bright)
    train(small(targets=PseudoMasks(str(bright))), store, tmp_path)
    saved = torch.load(tmp_path / "epoch1.ckpt", weights_only=True)["MRISliceDataModule"]
    assert "elsewhere" in saved["trained_on"]
    assert len(saved["trained_on"]) == 1 + 4
