"""The callback in somebody else's Lightning project."""

from __future__ import annotations

import csv
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset, SubsetRandomSampler

from wsseg.clustering import (
    ClusteringOptions,
    ClusterReSupervision,
    Deviation,
    EvidenceScorer,
    PixelEmbeddings,
    View,
)
from wsseg.utils.errors import InputError
from wsseg.utils.targets import IGNORE

OPTIONS = {each.name for each in fields(ClusteringOptions)}


def clustering(**changed: Any) -> ClusterReSupervision:
    """The callback; settings of its options are told apart by their names."""
    options = {"n_clusters": 8, "n_clusterings": 2}
    options |= {name: changed.pop(name) for name in OPTIONS & set(changed)}
    return ClusterReSupervision(clustering=ClusteringOptions(**options), **changed)


def fit(
    folder: Path,
    module: pl.LightningModule,
    data: Any,
    *callbacks: pl.Callback,
    epochs: int = 3,
    ckpt_path: Path | None = None,
    **changed: Any,
) -> pl.Trainer:
    settings: dict[str, Any] = {
        "max_epochs": epochs,
        "callbacks": list(callbacks),
        "default_root_dir": folder,
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": any(isinstance(c, ModelCheckpoint) for c in callbacks),
        **changed,
    }
    trainer = pl.Trainer(**settings)
    trainer.fit(module, data, ckpt_path=ckpt_path)
    return trainer


def loader(project: ModuleType, shuffle: bool = False, **changed: Any) -> DataLoader[Any]:
    return DataLoader(project.Squares(count=16, **changed), batch_size=4, shuffle=shuffle)


class Witness(pl.Callback):
    """Keeps the maps that batches carry, by epoch."""

    def __init__(self) -> None:
        self.maps: dict[int, list[Tensor]] = {}

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        seen = self.maps.setdefault(trainer.current_epoch, [])
        if "cluster_map" in batch:
            seen.append(batch["cluster_map"].clone())


def refreshes_of(callback: ClusterReSupervision) -> int:
    """The number of refreshes, which the maps in a checkpoint tell."""
    return callback.state_dict().get("maps", {}).get("version", 0)  # type: ignore[no-any-return]


def finder(project: ModuleType) -> Any:
    torch.manual_seed(0)
    return project.Finder()


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def test_the_example_finds_squares_and_cleans_up(project: ModuleType, tmp_path: Path) -> None:
    module, callback = project.train(str(tmp_path), epochs=6)
    data = project.Squares()
    found, truth = module(data.images)[:, 0].sigmoid() > 0.5, data.masks > 0
    assert float(2 * (found & truth).sum() / (found.sum() + truth.sum())) > 0.8
    assert not (tmp_path / "cluster_maps").exists()
    rows = list(csv.DictReader(next(tmp_path.rglob("metrics.csv")).open()))
    for name in ("churn", "relevant_clusters", "relevant_area", "support"):
        assert float(rows[-1][f"clusters/{name}"]) >= 0
    assert not rows[-1]["clusters/seconds_map"], "the last epoch has no refresh"
    assert sum(bool(row["clusters/seconds_map"]) for row in rows) == 5
    assert callback.report["support"] >= 1


def test_numbers_are_logged_after_every_epoch(project: ModuleType, tmp_path: Path) -> None:
    callback, logger = clustering(every_n_epochs=3), CSVLogger(tmp_path)
    fit(tmp_path, finder(project), loader(project), callback, epochs=4, logger=logger)
    with next(tmp_path.rglob("metrics.csv")).open() as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows if row["clusters/relevant_area"]] == ["0", "1", "2", "3"]
    assert [row["epoch"] for row in rows if row["clusters/seconds_map"]] == ["0"]


@pytest.mark.parametrize(
    ("settings", "mapped", "refreshes"),
    [
        ({"warmup_epochs": 0}, [0, 1, 2, 3], 4),
        ({"warmup_epochs": 2}, [2, 3], 2),
        ({"warmup_epochs": 1, "every_n_epochs": 2}, [1, 2, 3], 2),
        ({"warmup_epochs": 4}, [], 0),
    ],
)
def test_schedule(
    project: ModuleType, tmp_path: Path, settings: dict[str, Any], mapped: list[int], refreshes: int
) -> None:
    witness, callback = Witness(), clustering(**settings)
    fit(tmp_path, finder(project), loader(project), callback, witness, epochs=4)
    assert [epoch for epoch, maps in witness.maps.items() if maps] == mapped
    assert all(len(witness.maps[epoch]) == 4 for epoch in mapped)
    assert refreshes_of(callback) == refreshes


def test_only_what_is_needed_is_asked_for(project: ModuleType, tmp_path: Path) -> None:
    asked = []

    class Frugal(project.Finder):  # type: ignore[misc,name-defined]
        def embed_pixels(
            self, batch: Any, activation: bool = True, features: bool = True
        ) -> PixelEmbeddings:
            asked.append((activation, features, len(batch["index"])))
            full = super().embed_pixels(batch)._replace(image=batch["image"])
            full = full if features else full._replace(features=full.features[:, :0])
            return full if activation else full._replace(activation=None)

    torch.manual_seed(0)
    callback = clustering(warmup_epochs=0, evidence_slices=8, views=[Deviation()])
    data = loader(project)
    data.dataset.index = torch.arange(16)  # type: ignore[attr-defined]
    fit(tmp_path, Frugal(), data, callback, epochs=1)
    tagged = int((data.dataset.tags > 0).sum())  # type: ignore[attr-defined]
    assert 4 < tagged < 12
    for wanted, count in ((False, True), tagged), ((False, False), 16 - tagged):
        assert sum(each for *parts, each in asked if tuple(parts) == wanted) == count


def test_maps_belong_to_their_slices_at_image_resolution(
    project: ModuleType, tmp_path: Path
) -> None:
    class Coarse(project.Finder):  # type: ignore[misc,name-defined]
        def embed_pixels(self, batch: dict[str, Tensor]) -> PixelEmbeddings:
            full = super().embed_pixels(batch)
            return full._replace(
                features=full.features[..., ::2, ::2],
                activation=full.activation[..., ::2, ::2],
                valid=full.valid[..., ::2, ::2],
            )

    checked = []

    class Check(pl.Callback):
        def on_train_batch_end(
            self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            found = batch["cluster_map"]
            assert found.shape == (4, 1, 32, 32)
            assert set(found.unique().tolist()) <= {0.0, 1.0, IGNORE}
            assert not found[batch["tags"][:, 0] == 0].any()
            half = callback.lookup(batch["index"])
            assert half is not None
            assert half.shape == (4, 1, 16, 16)
            checked.append(batch_idx)

    torch.manual_seed(0)
    callback = clustering(warmup_epochs=0)
    fit(tmp_path, Coarse(), loader(project, shuffle=True), callback, Check(), epochs=1)
    assert checked == [0, 1, 2, 3]
    after = callback.lookup(torch.arange(16))  # unpacked
    assert after is not None
    assert bool((after > 0).any())


def test_training_is_not_disturbed(project: ModuleType, tmp_path: Path) -> None:
    """Batch norm, dropout and shuffling go on as if there were no callback."""

    class Deaf(project.Finder):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.body.append(nn.BatchNorm2d(8))
            self.body.append(nn.Dropout(0.2))

        def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
            batch.pop("cluster_map", None)
            return super().training_step(batch, batch_idx)

    results = []
    for callbacks in ([], [clustering(warmup_epochs=0)]):
        torch.manual_seed(0)
        module = Deaf()
        fit(tmp_path, module, loader(project, shuffle=True), *callbacks)
        results.append((weights(module), module.body[3].running_mean, torch.rand(1)))
    for without, with_ in zip(*results, strict=True):
        assert torch.equal(without, with_)


@pytest.mark.parametrize("during_validation", [False, True])
def test_resuming_is_bit_identical(
    project: ModuleType, tmp_path: Path, during_validation: bool
) -> None:
    class Validated(project.Finder):  # type: ignore[misc,name-defined]
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("score", self(batch["image"]).mean())

    def checkpoints() -> ModelCheckpoint:
        return ModelCheckpoint(
            dirpath=tmp_path,
            filename="{epoch}",
            save_top_k=-1,
            monitor="score",
            save_on_train_epoch_end=not during_validation,
        )

    def start() -> Any:
        torch.manual_seed(0)
        return Validated()

    settings: dict[str, Any] = {"every_n_epochs": 1, "warmup_epochs": 1}
    data = loader(project)
    whole, callback = start(), clustering(**settings)
    fit(tmp_path, whole, _Both(data), callback, checkpoints(), epochs=4)
    resumed, again = start(), clustering(**settings)
    ckpt = tmp_path / "epoch=1.ckpt"
    assert torch.load(ckpt, weights_only=True)["callbacks"]["ClusterReSupervision"]
    fit(tmp_path, resumed, _Both(data), again, epochs=4, ckpt_path=ckpt)
    assert torch.equal(weights(whole), weights(resumed))
    left, right = callback.state_dict(), again.state_dict()
    assert left.keys() == right.keys()
    for part in ("clusters", "maps"):
        for name, value in left[part].items():
            other = right[part][name]
            assert torch.equal(value, other) if isinstance(value, Tensor) else value == other, name


class _Both(pl.LightningDataModule):
    """Validates on the training slices."""

    def __init__(self, data: DataLoader[Any]) -> None:
        super().__init__()
        self.data = data

    def train_dataloader(self) -> DataLoader[Any]:
        return self.data

    def val_dataloader(self) -> DataLoader[Any]:
        return self.data


def test_resuming_within_an_epoch_has_the_maps_of_the_epoch(
    project: ModuleType, tmp_path: Path
) -> None:
    checkpoint = ModelCheckpoint(dirpath=tmp_path, every_n_train_steps=6, filename="{step}")
    first = Witness()
    fit(tmp_path, finder(project), loader(project), clustering(), first, checkpoint, epochs=2)
    second, callback = Witness(), clustering()
    ckpt = tmp_path / "step=6.ckpt"
    fit(tmp_path, finder(project), loader(project), callback, second, epochs=2, ckpt_path=ckpt)
    assert refreshes_of(callback) == 1
    # this loader cannot resume: it begins again, with the first slices
    assert torch.equal(torch.cat(second.maps[1]), torch.cat(first.maps[1][:2]))


def test_a_second_fit_goes_on(project: ModuleType, tmp_path: Path) -> None:
    module, callback, witness = finder(project), clustering(), Witness()
    trainer = fit(tmp_path, module, loader(project), callback, witness, epochs=2)
    trainer.save_checkpoint(tmp_path / "after.ckpt")
    saved = torch.load(tmp_path / "after.ckpt", weights_only=True)["callbacks"]
    assert len(saved["ClusterReSupervision"]["maps"]) > 0
    trainer.fit_loop.max_epochs = 4
    trainer.fit(module, loader(project))
    assert [len(maps) for maps in witness.maps.values()] == [0, 4, 4, 4]
    assert refreshes_of(callback) == 3


def test_another_training_begins_anew(project: ModuleType, tmp_path: Path) -> None:
    """As of the next fold, which has other slices and a module that knows nothing yet."""
    callback = clustering()
    slices = project.Squares(count=32)
    for fold in (range(16), range(16, 32)):
        witness = Witness()
        fold_loader = DataLoader(Subset(slices, fold), batch_size=4)
        fit(tmp_path, finder(project), fold_loader, callback, witness)
        assert [len(maps) for maps in witness.maps.values()] == [0, 4, 4]
        assert all(bool((maps > IGNORE).any()) for maps in witness.maps[2])
        assert refreshes_of(callback) == 2


@pytest.mark.parametrize("ending", [{"epochs": 2}, {"epochs": 9, "max_steps": 8}])
def test_no_refresh_when_training_ends(
    project: ModuleType, tmp_path: Path, ending: dict[str, int]
) -> None:
    callback = clustering()
    fit(tmp_path, finder(project), loader(project), callback, **ending)
    assert refreshes_of(callback) == 1


def test_a_stream_of_slices_with_ids(project: ModuleType, tmp_path: Path) -> None:
    class Stream(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            yield from (squares[number] for number in torch.randperm(16).tolist())

    squares, witness, callback = project.Squares(count=16), Witness(), clustering()
    fit(tmp_path, finder(project), DataLoader(Stream(), batch_size=4), callback, witness)
    assert [len(maps) for maps in witness.maps.values()] == [0, 4, 4]
    maps = callback.lookup(torch.arange(16))
    assert maps is not None
    assert bool((maps[squares.tags[:, 0] == 0] == 0).all())
    assert bool((maps[squares.tags[:, 0] > 0] > 0).any())


def test_slices_that_are_held_out_are_not_clustered(project: ModuleType, tmp_path: Path) -> None:
    """One data set, of which a sampler draws the training slices: how folds are often made."""
    embedded: set[int] = set()

    class Noting(project.Finder):  # type: ignore[misc,name-defined]
        def embed_pixels(self, batch: dict[str, Tensor]) -> PixelEmbeddings:
            embedded.update(batch["index"].tolist())
            return super().embed_pixels(batch)  # type: ignore[no-any-return]

    fold = Known(project, list(range(16)), batch_size=4, sampler=SubsetRandomSampler(range(4, 16)))
    fit(tmp_path, Noting(), fold, clustering())
    assert embedded == set(range(4, 16))


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (
            {"index": torch.arange(50, 66)},
            r"tensor `index` is \[50, 51, 52, 53\] for its first slices",
        ),
        (
            {"tags": torch.zeros(16, 2).index_fill_(0, torch.arange(8), 1)},
            r"tensor `tags` is .* but their batch has",
        ),
        ({"index": torch.arange(16) // 2}, "two training slices share the index 0"),
        ({"tags": torch.ones(16, 1)}, "no training slice is untagged for class 0"),
    ],
)
def test_what_a_data_set_tells_is_compared_with_its_batches_before_training(
    project: ModuleType, tmp_path: Path, told: dict[str, Tensor], message: str
) -> None:
    class Squares(project.Squares):  # type: ignore[misc,name-defined]
        def __getitem__(self, item: int) -> dict[str, Any]:
            return {**super().__getitem__(item), "tags": torch.tensor([item % 2.0])}

    slices, witness = Squares(count=16), Witness()
    for name, value in {"index": torch.arange(16), **told}.items():
        setattr(slices, name, value)
    with pytest.raises(InputError, match=message):
        fit(tmp_path, finder(project), DataLoader(slices, batch_size=4), clustering(), witness)
    assert witness.maps == {}


def test_batches_of_several_loaders_are_refused_at_once(
    project: ModuleType, tmp_path: Path
) -> None:
    class Pair(project.Finder):  # type: ignore[misc,name-defined]
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            return super().training_step(batch["a"], batch_idx)  # type: ignore[no-any-return]

    callback = clustering(dataloader=lambda: loader(project), warmup_epochs=2)
    pair, witness = {"a": loader(project), "b": loader(project)}, Witness()
    with pytest.raises(InputError, match=r"hold batches \(a, b\), as several loaders make"):
        fit(tmp_path, Pair(), pair, callback, witness)
    assert witness.maps == {}


def test_that_faiss_is_missing_is_said_before_training(
    project: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    witness = Witness()
    with pytest.raises(InputError, match="pip install faiss-cpu"):
        fit(tmp_path, finder(project), loader(project), clustering(warmup_epochs=2), witness)
    assert witness.maps == {}


def test_what_killed_runs_left_is_swept(project: ModuleType, tmp_path: Path) -> None:
    maps = tmp_path / "cluster_maps"
    for name in ("run-killed", "run-alive", "run-unknown"):
        (maps / name).mkdir(parents=True)
    (maps / "run-killed" / ".lock").touch()
    holding = "import fcntl, sys; f = open(sys.argv[1], 'w'); fcntl.flock(f, 2); print(1); input()"
    command = [sys.executable, "-u", "-c", holding, str(maps / "run-alive" / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as alive:
        assert alive.stdout is not None
        alive.stdout.readline()
        fit(tmp_path, finder(project), loader(project), clustering(), epochs=1)
        assert sorted(each.name for each in maps.iterdir()) == ["run-alive", "run-unknown"]
        alive.kill()
    fit(tmp_path, finder(project), loader(project), clustering(), epochs=1)
    assert [each.name for each in maps.iterdir()] == ["run-unknown"]


def test_a_function_and_a_loader_may_be_given(project: ModuleType, tmp_path: Path) -> None:
    class Mute(project.Finder):  # type: ignore[misc,name-defined]
        embed_pixels = None

    calls = []

    def embed(module: Any, batch: Any) -> PixelEmbeddings:
        calls.append(tuple(batch["index"].tolist()))
        return project.Finder.embed_pixels(module, batch)

    def plain() -> DataLoader[Any]:
        return DataLoader(project.Squares(count=16), batch_size=8)

    torch.manual_seed(0)
    callback = clustering(embed=embed, dataloader=plain, warmup_epochs=0)
    fit(tmp_path, Mute(), loader(project, shuffle=True), callback, epochs=1)
    assert set(calls) == {tuple(range(8)), tuple(range(8, 16))}


class _Renamed(torch.utils.data.Dataset[Any]):
    """The squares with keys left out or changed."""

    def __init__(self, data: Any, change: Any) -> None:
        self.data, self.change = data, change

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, item: int) -> Any:
        return self.change(self.data[item])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda item: {k: v for k, v in item.items() if k != "index"}, "no tensor `index`"),
        (lambda item: (item["image"], item["tags"]), "serves list; serve a dictionary"),
        (lambda item: {**item, "index": item["index"] - 5}, "integers from 0"),
        (lambda item: {**item, "index": 2**32 + item["index"]}, "number them from 0 .hashes"),
        (
            lambda item: {**item, "index": float(item["index"])},
            r"is \(4,\) of torch\.float64; make",
        ),
        (
            lambda item: {**item, "index": torch.tensor([item["index"]])},
            r"\(4, 1\) of .*make it \[B",
        ),
    ],
)
def test_batches_that_cannot_be_used(
    project: ModuleType, tmp_path: Path, change: Any, message: str
) -> None:
    data = DataLoader(_Renamed(project.Squares(count=16), change), batch_size=4)
    with pytest.raises(InputError, match=message):
        fit(tmp_path, finder(project), data, clustering(warmup_epochs=5))
    assert not (tmp_path / "cluster_maps").exists()


def test_module_without_embeddings(project: ModuleType, tmp_path: Path) -> None:
    class Mute(project.Finder):  # type: ignore[misc,name-defined]
        embed_pixels = None

    with pytest.raises(InputError, match="Mute has no embed_pixels") as refused:
        fit(tmp_path, Mute(), loader(project), clustering())
    lines = {"nn": nn, "PixelEmbeddings": PixelEmbeddings}
    exec("class Mended(nn.Module):\n" + str(refused.value).partition("\n")[2], lines)
    assert callable(lines["Mended"].embed_pixels)  # type: ignore[attr-defined]


def test_the_lines_that_an_error_shows_mend_the_data_set(
    project: ModuleType, tmp_path: Path
) -> None:
    pairs = _Renamed(project.Squares(count=16), lambda item: (item["image"], item["tags"]))
    with pytest.raises(InputError, match="serves list; serve a dictionary") as refused:
        fit(tmp_path, finder(project), DataLoader(pairs, batch_size=4), clustering())
    lines: dict[str, Any] = {"Renamed": _Renamed}
    exec("class Mended(Renamed):\n" + str(refused.value).partition("\n")[2], lines)
    mended, callback = lines["Mended"](pairs, None), clustering()
    fit(tmp_path, finder(project), DataLoader(mended, batch_size=4), callback)
    assert callback.clusters is not None


def test_activation_of_no_probability(project: ModuleType, tmp_path: Path) -> None:
    class Logits(project.Finder):  # type: ignore[misc,name-defined]
        def embed_pixels(self, batch: Any) -> PixelEmbeddings:
            probable = super().embed_pixels(batch)
            return probable._replace(activation=20 * probable.activation - 10)

    with pytest.raises(InputError, match=r"`activation` goes from -\d.* the sigmoid"):
        fit(tmp_path, Logits(), loader(project), clustering())


def test_a_question_about_the_activation_may_need_an_answer(
    project: ModuleType, tmp_path: Path
) -> None:
    class Positional(project.Finder):  # type: ignore[misc,name-defined]
        def embed_pixels(self, batch: Any, activation: bool) -> PixelEmbeddings:
            return super().embed_pixels(batch)

    callback = clustering()
    fit(tmp_path, Positional(), loader(project), callback)
    assert refreshes_of(callback) == 2


def test_maps_that_show_nothing_are_announced(project: ModuleType, tmp_path: Path) -> None:
    class Blind(project.Finder):  # type: ignore[misc,name-defined]
        def embed_pixels(self, batch: Any) -> PixelEmbeddings:
            seeing = super().embed_pixels(batch)
            return seeing._replace(features=torch.zeros_like(seeing.features))

    with pytest.warns(UserWarning, match="no pixel of a tagged slice is relevant"):
        fit(tmp_path, Blind(), loader(project), clustering())


def test_training_that_ends_before_the_first_map_is_announced(
    project: ModuleType, tmp_path: Path
) -> None:
    callback = clustering(warmup_epochs=3)
    with pytest.warns(UserWarning, match=r"max_epochs 3, warmup_epochs .* no cluster map is ever"):
        fit(tmp_path, finder(project), loader(project), callback)
    assert callback.state_dict() == {}


def test_maps_of_fewer_slices_cannot_be_gone_on_with(project: ModuleType, tmp_path: Path) -> None:
    former, callback = clustering(), clustering()
    fit(tmp_path, finder(project), loader(project), former)
    callback.load_state_dict(former.state_dict())
    more = DataLoader(project.Squares(count=20), batch_size=4)
    with pytest.raises(InputError, match="has seen other data cannot be used with these slices"):
        fit(tmp_path, finder(project), more, callback)


def test_more_clusters_than_pixels_is_found_before_training(
    project: ModuleType, tmp_path: Path
) -> None:
    witness = Witness()
    data = loader(project, size=16)
    with pytest.raises(InputError, match=r"n_clusters is 5000, .* have 4096 valid pixels"):
        fit(tmp_path, finder(project), data, clustering(n_clusters=5000), witness)
    assert witness.maps == {}


def test_nan_in_training_is_named(project: ModuleType, tmp_path: Path) -> None:
    class Diverging(project.Finder):  # type: ignore[misc,name-defined]
        def on_train_epoch_end(self) -> None:
            nn.init.constant_(self.body[0].weight, float("nan"))

        def on_train_batch_end(self, *args: Any) -> None:
            nn.init.constant_(self.body[0].weight, float("nan"))

    torch.manual_seed(0)
    with pytest.raises(InputError, match="NaN"):
        fit(tmp_path, Diverging(), loader(project), clustering())
    assert not (tmp_path / "cluster_maps").exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_clusters": 0},
        {"n_clusterings": 0},
        {"warmup_epochs": -1},
        {"every_n_epochs": 0},
        {"evidence_slices": 1},
        {"sample_size": 5},
        {"iterations": 0},
        {"smoothing": float("nan")},
        {"backend": "numpy"},
    ],
)
def test_arguments_out_of_range(wrong: dict[str, Any]) -> None:
    name = next(iter(wrong))
    with pytest.raises(InputError, match=rf"{name} .*: must be"):
        clustering(**wrong)


@pytest.mark.parametrize("wrong", [{"low": 0.7}, {"high": 1.1}, {"low": float("nan")}])
def test_thresholds_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"scorer: low .* must satisfy"):
        clustering(scorer=EvidenceScorer(**wrong))


class Negative(View):
    """Weighs less than nothing."""

    share = -1.0

    def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
        return slices.features


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"views": Deviation()}, "views: .* is no list"),
        ({"views": [Deviation]}, "views: .* is no view"),
        ({"views": [Negative()]}, r"Negative: share -1\.0: must be above 0"),
        ({"scorer": EvidenceScorer}, "scorer: .* is no scorer"),
        ({"scorer": "EvidenceScorer"}, "scorer: .* is no scorer"),
        ({"clustering": 8}, "clustering 8: must be ClusteringOptions"),
    ],
)
def test_arguments_of_the_wrong_kind(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ClusterReSupervision(**wrong)


class Height(View):
    """How far down in the image a pixel lies."""

    def columns(self, slices: PixelEmbeddings, learned: Tensor) -> Tensor:
        count, height, width = slices.valid.shape
        return torch.linspace(0, 1, height)[:, None].expand(count, 1, height, width)


def test_views_come_from_the_callback_or_else_from_the_module(
    project: ModuleType, tmp_path: Path
) -> None:
    class Seeing(project.Finder):  # type: ignore[misc,name-defined]
        cluster_views = (Height(),)

    for views, wanted in ((None, 1), ([], 0), ([Height(), Height()], 2)):
        torch.manual_seed(0)
        callback = clustering(views=views)
        fit(tmp_path, Seeing(), loader(project), callback)
        assert callback.clusters is not None
        assert callback.clusters.centroids.shape[2] == 8 + wanted


def test_clusters_of_other_views_are_not_gone_on_with(project: ModuleType, tmp_path: Path) -> None:
    former, callback = clustering(views=[Height()]), clustering()
    fit(tmp_path, finder(project), loader(project), former)
    callback.load_state_dict(former.state_dict())
    with pytest.raises(InputError, match="were made with the views Height, but none are given"):
        fit(tmp_path, finder(project), loader(project), callback)


def test_lookup_of_slices_that_are_not_trained_on(project: ModuleType, tmp_path: Path) -> None:
    found = []

    class Look(pl.Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            found.append(callback.lookup(torch.tensor([3, 16, 99])))

    callback = clustering(warmup_epochs=0)
    fit(tmp_path, finder(project), loader(project), callback, Look(), epochs=1)
    assert bool((found[0][0] != IGNORE).any())
    assert bool((found[0][1:] == IGNORE).all())


def test_reachable_from_the_command_line(project: ModuleType, tmp_path: Path) -> None:
    from pytorch_lightning.cli import LightningCLI

    config = tmp_path / "config.yaml"
    config.write_text(
        "trainer:\n  callbacks:\n    - class_path: wsseg.clustering.ClusterReSupervision\n"
        "      init_args:\n        clustering: {n_clusters: 9}\n"
        "        scorer: {class_path: EvidenceScorer, init_args: {focus_power: 1.5}}\n"
        "        adapter: {class_path: ClassifierAdapter, init_args: {cam: layer4, image: img}}\n"
    )
    cli = LightningCLI(project.Finder, args=["--config", str(config)], run=False)
    callback = next(c for c in cli.trainer.callbacks if isinstance(c, ClusterReSupervision))
    assert callback.clustering == ClusteringOptions(n_clusters=9)
    assert callback.scorer == EvidenceScorer(focus_power=1.5)
    assert callback.adapter is not None
    assert (callback.adapter.layer, callback.adapter.image) == ("layer4", "img")


class Known(pl.LightningDataModule):
    """Squares whose ids and tags are known beforehand, in a given order."""

    def __init__(self, project: ModuleType, order: list[int], **loading: Any) -> None:
        super().__init__()
        data = project.Squares(count=16)
        data.images, data.tags = data.images[order], data.tags[order]
        data.index = torch.arange(16)
        self.data, self.loading = data, loading or {"batch_size": 4}

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.data, **self.loading)


def test_maps_of_other_slices_are_not_taken_for_those_of_this_run(
    project: ModuleType, tmp_path: Path
) -> None:
    forwards = list(range(16))
    callback = clustering(every_n_epochs=9)
    fit(tmp_path, finder(project), Known(project, forwards), callback)
    state = callback.state_dict()
    for order, warned in ((forwards, False), (forwards[::-1], True)):
        witness, again = Witness(), clustering(every_n_epochs=9)
        again.load_state_dict(state)
        data = Known(project, order)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit(tmp_path, finder(project), data, again, witness)
        assert any("of other slices" in str(each.message) for each in caught) == warned
        assert bool(witness.maps[0]) != warned  # made anew after the warm-up
        for maps in witness.maps[2]:
            untagged = data.data.tags[: len(maps), 0] < 0.5
            assert not bool((maps[untagged] > 0).any())


def test_batches_of_a_sampler_of_the_users_own(project: ModuleType, tmp_path: Path) -> None:
    batches = [list(range(start, 16, 4)) for start in range(4)]
    witness = Witness()
    data = Known(project, list(range(16)), batch_sampler=batches)
    fit(tmp_path, finder(project), data, clustering(), witness)
    assert len(witness.maps[2]) == 4


def test_ids_of_a_larger_set_are_not_those_of_a_subset(project: ModuleType, tmp_path: Path) -> None:
    data = Known(project, list(range(16)))
    data.data.index = torch.arange(32)
    callback = clustering()
    fit(tmp_path, finder(project), data, callback)
    assert refreshes_of(callback) == 2


def test_a_checkpoint_replaces_what_was_learned_before(project: ModuleType, tmp_path: Path) -> None:
    first, second = clustering(), clustering()
    fit(tmp_path, finder(project), loader(project), first)
    fit(tmp_path, finder(project), loader(project, size=16), second)
    assert first.table is not None
    kept = first.table.rows(["object"])
    second.load_state_dict(first.state_dict())
    assert second.table is not None
    assert second.table.rows(["object"]) == kept
    again = second.state_dict()["clusters"]
    assert torch.equal(again["centroids"], first.state_dict()["clusters"]["centroids"])
    with pytest.raises(InputError, match="written by an earlier version of wsseg"):
        second.load_state_dict({"epoch": 1, "centroids": torch.zeros(1)})
