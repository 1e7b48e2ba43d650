"""Corrected masks: they take the place of tags, and wrong files are refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from PIL import Image

from tests.data.conftest import write_brats_case, write_store
from tests.segmentation.conftest import make_trainer
from wsseg.comparators import SelfEquivariance
from wsseg.data.corrections import find_corrections, read_correction
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.labels import SLICER_FILE
from wsseg.data.masked import masks_of
from wsseg.data.preparation import prepare
from wsseg.models import CamModule
from wsseg.utils.errors import InputError

CLASSES = {"whole": [2, 4], "core": [4], "oedema": [2]}  # predicted masks show whole alone as 1


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "brats"
    for number in range(6):
        write_brats_case(folder, f"case_{number}", seed=number)
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path) -> Path:
    """Slices of other pixels than the volumes, cut to a size of their own."""
    options: dict[str, Any] = {"folds": 3, "val_fraction": 0.3, "slice_step": 2, "workers": 1}
    options |= {"modalities": ["FLAIR"], "classes": CLASSES, "spacing": 1.5}
    return prepare("brats", source, source.parent / "store", **options)


@pytest.fixture
def data(prepared: Path) -> MRISliceDataModule:
    return MRISliceDataModule(str(prepared), batch_size=8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "corrected").mkdir()
    return tmp_path / "corrected"


@pytest.fixture
def save(source: Path, folder: Path) -> Callable[..., Path]:
    """Saves a mask as that of a case; by default its true one."""

    def save(case: str, labels: np.ndarray | None = None, shift: float = 0.0) -> Path:
        true = nib.load(source / "case_0" / "case_0_seg.nii.gz")
        affine = true.affine.copy()
        affine[0, 3] += shift
        labels = np.asarray(true.dataobj) if labels is None else labels
        nib.save(nib.Nifti1Image(labels.astype(np.int16), affine), folder / f"{case}.nii.gz")
        return folder / f"{case}.nii.gz"

    return save


def train_case(data: MRISliceDataModule, number: int = 0) -> str:
    return data.splits["train"][number].id


def test_a_corrected_mask_is_cut_as_preparation_cuts_masks(
    data: MRISliceDataModule, save: Callable[..., Path]
) -> None:
    case = data.splits["train"][0]
    found = read_correction(save(case.id), case, data.store)
    assert found.any()
    assert np.array_equal(found.numpy(), masks_of(data.store)[case.id])


def test_labels_are_those_of_the_data_and_of_predictions(
    data: MRISliceDataModule, save: Callable[..., Path]
) -> None:
    case = data.splits["train"][0]
    labels = np.zeros((40, 44, 24))
    labels[10:20, 10:20] = 1  # of the whole alone, which no label of the data says
    labels[20:30, 10:20] = 4
    whole, core, oedema = read_correction(save(case.id, labels), case, data.store).unbind(1)
    assert core.any()
    assert (whole | ~core).all()
    assert 1.7 < whole.sum() / core.sum() < 2.3
    assert not oedema.any()


class Keep(pl.Callback):
    """Keeps what the batches of a training say."""

    def __init__(self) -> None:
        self.seen: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        rows = zip(batch["corrected"], batch["tags"], strict=True)
        self.seen |= dict(zip(batch["index"].tolist(), rows, strict=True))


def test_masks_take_the_place_of_tags_and_nothing_reaches_the_masks_of_the_store(
    prepared: Path,
    data: MRISliceDataModule,
    save: Callable[..., Path],
    folder: Path,
    tmp_path: Path,
) -> None:
    """Trained with and without the store's masks, on one corrected case; the same to the bit."""
    corrected, other = data.splits["train"][:2]
    labels = np.zeros((40, 44, 24))
    labels[5:15, 5:15] = 4  # elsewhere than the lesion, and in slices that are not tagged
    expected = read_correction(save(corrected.id, labels), corrected, data.store)
    store, results = tmp_path / "store", []
    shutil.copytree(prepared, store)
    for _ in range(2):
        pl.seed_everything(0, verbose=False)
        module = CamModule(data.spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
        keep = Keep()
        given = MRISliceDataModule(str(store), batch_size=8, corrections=str(folder))
        trainer = make_trainer(tmp_path / "run", 1, callbacks=[keep])
        trainer.fit(module, given)
        for number, index in enumerate(corrected.indices.tolist()):
            found, tags = keep.seen[index]
            assert torch.equal(found, expected[number].float())
            assert torch.equal(tags, expected[number].flatten(1).any(dim=1).float())
        assert all((keep.seen[index][0] == -1).all() for index in other.indices.tolist())
        assert trainer.callback_metrics["train/cluster"] > 0
        results.append(torch.cat([each.detach().flatten() for each in module.parameters()]))
        shutil.rmtree(store / "masks", ignore_errors=True)
    assert torch.equal(*results)


def test_methods_that_learn_from_tags_only_refuse_masks(
    prepared: Path,
    data: MRISliceDataModule,
    save: Callable[..., Path],
    folder: Path,
    tmp_path: Path,
) -> None:
    save(train_case(data))
    given = MRISliceDataModule(str(prepared), corrections=str(folder))
    module = SelfEquivariance(data.spec.to_dict(), widths=(4, 8))
    trainer = make_trainer(tmp_path, 1)
    refused(lambda: trainer.fit(module, given), "SelfEquivariance learns from tags only")


def test_resuming_with_other_corrections_is_announced(
    prepared: Path, data: MRISliceDataModule, save: Callable[..., Path], folder: Path
) -> None:
    states = []
    for labels in (None, np.zeros((40, 44, 24))):
        save(train_case(data), labels)
        given = MRISliceDataModule(str(prepared), corrections=str(folder))
        given.load_state_dict({"order_seed": 0, "corrected": "of another run"})  # not to train
        given.setup("fit")
        states.append(given.state_dict())
        given.load_state_dict(states[-1])
    with pytest.warns(UserWarning, match="are not those that this run began with"):
        given.load_state_dict(states[0])


def refused(call: Callable[[], object], *words: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    for line in str(caught.value).splitlines():
        assert ": " in line
        assert "; " in line
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(("split", "purpose"), [("val", "validation"), ("test", "testing")])
def test_masks_of_held_out_cases_are_refused(
    data: MRISliceDataModule, save: Callable[..., Path], folder: Path, split: str, purpose: str
) -> None:
    case = data.splits[split][0].id
    path = save(case)
    refused(
        lambda: find_corrections(folder, data.store, 0),
        f"{path}: case {case} is kept for {purpose} in",
    )


def test_names_that_are_no_case_are_refused(
    data: MRISliceDataModule, save: Callable[..., Path], folder: Path
) -> None:
    save("anna")
    save(f"{train_case(data)}.seg")
    example = f"such as {train_case(data)}"
    refused(lambda: find_corrections(folder, data.store, 0), "is called anna;", ".seg;", example)


def test_two_masks_of_a_case_are_refused(
    data: MRISliceDataModule, save: Callable[..., Path], folder: Path
) -> None:
    shutil.copy(save(train_case(data)), folder / f"{train_case(data)}.nii.gz.copy.nii")
    (folder / f"{train_case(data)}.nii.gz.copy.nii").rename(folder / f"{train_case(data)}.nii")
    refused(lambda: find_corrections(folder, data.store, 0), "is the second mask of case")


def test_folders_that_hold_no_corrections_are_refused(
    data: MRISliceDataModule, save: Callable[..., Path], folder: Path
) -> None:
    refused(lambda: find_corrections(folder, data.store, 0), f"{folder}: holds no mask")
    refused(lambda: find_corrections(folder / "absent", data.store, 0), "is no folder")
    predicted = folder / "masks"
    predicted.mkdir()
    shutil.move(save(train_case(data)), predicted)
    (folder / SLICER_FILE).touch()
    refused(lambda: find_corrections(predicted, data.store, 0), "is a folder of predictions")


@pytest.mark.parametrize(
    ("labels", "shift", "words"),
    [
        (np.full((40, 44, 24), 7), 0.0, "unknown label 7; known are 0, 1, 2, 4; correct the mask"),
        (np.zeros((40, 44, 23)), 0.0, "shape (40, 44, 23) differs from (40, 44, 24); save the"),
        (np.zeros((40, 44, 24)), 0.2, "affine differs from that of its images; save the mask on"),
    ],
)
def test_masks_that_do_not_fit_are_refused(
    prepared: Path,
    data: MRISliceDataModule,
    save: Callable[..., Path],
    folder: Path,
    labels: np.ndarray,
    shift: float,
    words: str,
) -> None:
    path = save(train_case(data), labels, shift)
    given = MRISliceDataModule(str(prepared), corrections=str(folder))
    refused(lambda: given.setup("fit"), str(path), words)


def test_a_store_of_an_earlier_version_is_refused(tmp_path: Path, folder: Path) -> None:
    store = write_store(tmp_path / "store", size=16)
    manifest = json.loads((store / "manifest.json").read_text())
    for entry in manifest["cases"]:
        del entry["source"]
    (store / "manifest.json").write_text(json.dumps(manifest))
    data = MRISliceDataModule(str(store))
    case = data.splits["train"][0]
    refused(lambda: read_correction(folder / "a.nii.gz", case, data.store), "an earlier version")


def test_a_damaged_store_is_refused(tmp_path: Path, folder: Path) -> None:
    store = write_store(tmp_path / "store", size=16)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["cases"][0]["source"]["affine"] = [1.0, 2.0]
    (store / "manifest.json").write_text(json.dumps(manifest))
    data = MRISliceDataModule(str(store))
    refused(lambda: data.store.source(data.store.cases["a"]), "manifest.json: is damaged")


def test_pictures_may_be_corrected_in_black_and_white(tmp_path: Path, folder: Path) -> None:
    rng, lines = np.random.default_rng(0), ["image,lesion"]
    for number in range(6):
        pixels = rng.integers(0, 255, (48, 64), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"p{number}.png")
        lines.append(f"p{number}.png,{number % 2}")
    (tmp_path / "tags.csv").write_text("\n".join(lines))
    store = prepare("table", tmp_path / "tags.csv", tmp_path / "store", folds=2, workers=1)
    data = MRISliceDataModule(str(store))
    case = data.splits["train"][0]
    mask = np.zeros((48, 64), np.uint8)
    mask[8:24, 16:32] = 255
    Image.fromarray(mask).save(folder / f"{case.id}.png")
    (found,) = find_corrections(folder, data.store, 0).items()
    assert found == (case.id, folder / f"{case.id}.png")
    masks = read_correction(found[1], case, data.store)
    assert int(masks.sum()) == 16 * 16
    assert masks[0, 0, 8:24, 16:32].all()
