"""Stores are complete or absent, hold what the sources hold, and are made once."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from wsseg.data import preparation
from wsseg.data.case_preparation import keep_slices
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.preparation import prepare
from wsseg.errors import InputError

MakeCase = Callable[..., Path]


@pytest.fixture
def source(make_case: MakeCase, tmp_path: Path) -> Path:
    for number in range(3):
        make_case(tmp_path / "brats", f"case_{number}", seed=number)
    return tmp_path / "brats"


def run(source: Path, out: Path, **options: object) -> Path:
    options = {"layout": "brats", "folds": 3, "workers": 1, **options}
    return prepare(source=source, out=out, **options)  # type: ignore[arg-type]


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(p.relative_to(folder)): (p.stat().st_mtime_ns, p.read_bytes()) for p in files}


def refused(source: Path, out: Path, word: str, **options: object) -> None:
    before = snapshot(out.parent)
    with pytest.raises(InputError, match=word) as caught:
        run(source, out, **options)
    assert "\n" not in str(caught.value)
    assert snapshot(out.parent) == before
    assert not (out.parent / f".{out.name}.part").exists()


def test_store(source: Path, tmp_path: Path) -> None:
    store = run(source, tmp_path / "store")
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest["spec"]["size"] == [48, 48]
    assert manifest["has_masks"]
    assert sorted(p.name for p in store.iterdir()) == [
        "images",
        "manifest.json",
        "masks",
        "splits.json",
        "valid",
    ]
    for case in manifest["cases"]:
        image, valid, mask = (
            np.load(store / kind / f"{case['id']}.npy") for kind in ("images", "valid", "masks")
        )
        assert image.dtype == np.float16
        assert image.shape == (case["slices"], 4, 48, 48)
        assert valid.dtype == mask.dtype == bool
        assert not image.transpose(0, 2, 3, 1)[~valid].any()
        assert mask.any(axis=(2, 3)).astype(int).tolist() == case["tags"]
        assert mask.sum() == 8 * 8 * 6
        assert [p for p, t in zip(case["positions"], case["tags"], strict=True) if t[0]] == [
            *range(12, 18)
        ]
        assert case["spacing"] == [2.0, 1.0, 1.0]


def test_data_module_reads_it(source: Path, tmp_path: Path) -> None:
    store = run(source, tmp_path / "store", slice_step=2, spacing=2.0, classes={"core": [4]})
    module = MRISliceDataModule(str(store), fold=2)
    for stage in ("fit", "test"):
        module.setup(stage)
    batch = next(iter(module.test_dataloader()))
    assert batch["mask"].shape[1:] == (1, 32, 32)
    assert batch["mask"].flatten(1).any(1).equal(batch["tags"][:, 0] == 1)
    assert "mask" not in next(iter(module.train_dataloader()))


def test_processes_change_nothing(source: Path, tmp_path: Path) -> None:
    one, two = (run(source, tmp_path / f"store_{n}", workers=n) for n in (1, 2))
    contents = [{n: c for n, (_, c) in snapshot(s).items()} for s in (one, two)]
    assert contents[0] == contents[1]


def test_complete_store_is_kept_and_others_are_not_replaced_unasked(
    source: Path, tmp_path: Path
) -> None:
    store = run(source, tmp_path / "store")
    before = snapshot(store)
    run(source, store)
    assert snapshot(store) == before
    refused(source, store, "with other options", seed=1)
    run(source, store, seed=1, overwrite=True)
    assert snapshot(store) != before
    shutil.rmtree(source / "case_1")
    refused(source, store, "from other files", folds=2)


def test_interrupted_run_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = preparation.build_case

    def interrupted(job: preparation.CaseJob, folder: Path) -> dict[str, object]:
        if job.files.id == "case_2":
            raise KeyboardInterrupt
        return build(job, folder)

    monkeypatch.setattr(preparation, "build_case", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    monkeypatch.undo()
    done = tmp_path / ".store.part" / "images" / "case_0.npy"
    written = done.stat().st_mtime_ns
    store = run(source, tmp_path / "store")
    assert (store / "images" / "case_0.npy").stat().st_mtime_ns == written
    assert not (tmp_path / ".store.part").exists()
    MRISliceDataModule(str(store))


def test_bad_volume_leaves_nothing(source: Path, tmp_path: Path) -> None:
    path = source / "case_1" / "case_1_t2.nii.gz"
    path.write_bytes(path.read_bytes()[:-100])
    refused(source, tmp_path / "store", "case_1_t2.nii.gz")


def test_unknown_label_leaves_nothing(source: Path, tmp_path: Path) -> None:
    path = source / "case_2" / "case_2_seg.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 3, image.affine), path)
    refused(source, tmp_path / "store", "unknown label")


def test_fold_without_untagged_slices_leaves_nothing(source: Path, tmp_path: Path) -> None:
    rows = [f"{n},1" for n in range(24)]
    path = tagged_list(source, {f"case_{n}": rows for n in range(3)})
    word = "no training slice of fold 0 is untagged"
    refused(path, tmp_path / "store", word, layout="datalist")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": [30, 32]}, "--size"),
        ({"spacing": 0.0}, "--spacing"),
        ({"slice_step": 0}, "--slice_step"),
        ({"min_anatomy": 1.0}, "--min_anatomy"),
        ({"min_anatomy": 0.99}, "lower --min_anatomy"),
        ({"folds": 1}, "--folds"),
        ({"folds": 4}, "--folds"),
        ({"workers": 0}, "--workers"),
        ({"classes": {"tumour": [9]}}, "label 9"),
        ({"classes": {"tumour": []}}, "no label"),
        ({"classes": {}}, "names no class"),
        ({"modalities": ["PET"]}, "no modality PET"),
    ],
)
def test_bad_options(source: Path, tmp_path: Path, options: dict[str, object], word: str) -> None:
    refused(source, tmp_path / "store", word, **options)


def test_folder_of_something_else_is_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("dear")
    refused(source, tmp_path / "home", "something else", overwrite=True)


def tagged_list(source: Path, lines: dict[str, list[str]]) -> Path:
    cases = []
    for name, rows in lines.items():
        (source / f"{name}.csv").write_text("\n".join(["slice,tumour", *rows]) + "\n")
        image = {"T1": f"{name}/{name}_t1.nii.gz"}
        cases.append({"id": name, "images": image, "tags": f"{name}.csv"})
    content = {"modalities": ["T1"], "classes": {"tumour": [1]}, "cases": cases}
    (source / "list.json").write_text(json.dumps(content))
    return source / "list.json"


ROWS = [f"{n},{int(12 <= n < 18)}" for n in range(24)]


def test_tags_without_masks(source: Path, tmp_path: Path) -> None:
    path = tagged_list(source, {f"case_{n}": ROWS for n in range(3)})
    store = run(path, tmp_path / "store", layout="datalist")
    manifest = json.loads((store / "manifest.json").read_text())
    assert not manifest["has_masks"]
    assert not (store / "masks").exists()
    for case in manifest["cases"]:
        assert case["tags"] == [[int(12 <= n < 18)] for n in case["positions"]]


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (ROWS[:15], "lack slice 15"),
        ([*ROWS, "3,1"], "line 26"),
        ([*ROWS[:5], "5,2"], "line 7"),
        (["700,1"], "line 2"),
        (["one,1"], "line 2"),
    ],
)
def test_bad_tags(source: Path, tmp_path: Path, rows: list[str], word: str) -> None:
    path = tagged_list(source, {"case_0": ROWS, "case_1": rows})
    refused(path, tmp_path / "store", word, layout="datalist", folds=2)


def test_neither_mask_nor_tags(source: Path, tmp_path: Path) -> None:
    (source / "case_1" / "case_1_seg.nii.gz").unlink()
    refused(source, tmp_path / "store", "case case_1 has neither mask nor tags")


def test_kept_slices() -> None:
    valid = np.zeros((9, 4, 4), bool)
    valid[2:8, :2] = True
    valid[4] = False
    assert keep_slices(valid, 1, 0.5) == [2, 3, 5, 6, 7]
    assert keep_slices(valid, 2, 0.5) == [2, 6]
    assert keep_slices(valid, 1, 0.6) == []


def test_real_patients(shared_data: Path, tmp_path: Path) -> None:
    cases = []
    for name in ("case_0", "case_1"):
        folder = shared_data / "brats2018-demo" / name
        images = {"FLAIR": str(folder / "FLAIR.nii.gz")}
        cases.append({"id": name, "images": images, "mask": str(folder / "GT_W.nii.gz")})
    content = {"modalities": ["FLAIR"], "classes": {"tumour": [1]}, "cases": cases}
    path = tmp_path / "list.json"
    path.write_text(json.dumps(content))
    store = run(path, tmp_path / "store", layout="datalist", folds=2, spacing=2.0)
    manifest = json.loads((store / "manifest.json").read_text())
    for case in manifest["cases"]:
        image, mask = (np.load(store / kind / f"{case['id']}.npy") for kind in ("images", "masks"))
        inside = image[:, 0][mask[:, 0]].astype(np.float32)
        assert inside.mean() > 1.0  # tumour is bright on FLAIR, if it lies where it should
