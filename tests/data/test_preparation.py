"""Stores are complete or absent, hold what the sources hold, and are made once."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from wsseg.data.case_preparation import keep_slices
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.preparation import prepare
from wsseg.data.store_files import ArrayFolder
from wsseg.data.workers import THREADS, mapper
from wsseg.utils.errors import InputError
from wsseg.utils.files import lock

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


def contents(folder: Path) -> dict[str, bytes]:
    return {name: content for name, (_, content) in snapshot(folder).items()}


@contextmanager
def interrupted_at(monkeypatch: pytest.MonkeyPatch, number: int) -> Iterator[None]:
    """Interrupt the block when it would write an array for the n-th time."""
    write, count = ArrayFolder.write, itertools.count(1)

    def interrupted(folder: ArrayFolder, case: str, array: np.ndarray) -> None:
        if next(count) == number:
            raise KeyboardInterrupt
        write(folder, case, array)

    with monkeypatch.context() as patch:
        patch.setattr(ArrayFolder, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            yield


def refused(source: Path, out: Path, word: str, **options: object) -> None:
    before = snapshot(out.parent)
    with pytest.raises(InputError, match=word) as caught:
        run(source, out, **options)
    assert all(": " in line and "; " in line for line in str(caught.value).split("\n"))
    assert snapshot(out.parent) == before
    assert not (out.parent / f".{out.name}.part").exists()


def stopped(source: Path, out: Path, word: str, **options: object) -> str:
    """Run into a fault that only reading tells: there is no store, and what is finished waits."""
    with pytest.raises(InputError, match=word) as caught:
        run(source, out, **options)
    assert all(": " in line and "; " in line for line in str(caught.value).split("\n"))
    assert str(out.parent / f".{out.name}.part") in str(caught.value)
    assert not out.exists()
    return str(caught.value)


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
    assert contents(one) == contents(two)


def test_processes_are_begun_with_one_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(THREADS, raising=False)
    with mapper(2, 2) as run_in:
        assert run_in("Asking", os.getenv, [THREADS, THREADS]) == ["1", "1"]
    assert THREADS not in os.environ
    monkeypatch.setenv(THREADS, "3")
    with mapper(2, 2) as run_in:
        assert run_in("Asking", os.getenv, [THREADS, THREADS]) == ["3", "3"]


def test_complete_store_is_kept_and_others_are_not_replaced_unasked(
    source: Path, tmp_path: Path
) -> None:
    store = run(source, tmp_path / "store")
    before = snapshot(store)
    run(source, store)
    assert snapshot(store) == before
    refused(source, store, r"with other options \(seed 0, not 1\)", seed=1)
    run(source, store, seed=1, overwrite=True)
    assert snapshot(store) != before
    (store / "splits.json").write_text("{}")
    run(source, store, seed=1, overwrite=True)  # also where nothing but the store has changed
    assert (store / "splits.json").read_text() != "{}"
    shutil.rmtree(source / "case_1")
    refused(source, store, "from other files", folds=2)


def test_interrupted_run_goes_on(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with interrupted_at(monkeypatch, 8):  # the second array of case_2
        run(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    done = tmp_path / ".store.part" / "images" / "case_0.npy"
    written = done.stat().st_mtime_ns
    store = run(source, tmp_path / "store")
    assert (store / "images" / "case_0.npy").stat().st_mtime_ns == written
    assert not (tmp_path / ".store.part").exists()
    MRISliceDataModule(str(store))


def test_two_at_once_do_not_mix(source: Path, tmp_path: Path) -> None:
    (tmp_path / ".store.part").mkdir()
    with lock(tmp_path / ".store.part") as held:
        assert held
        with pytest.raises(InputError, match="store: another process is preparing it; wait"):
            run(source, tmp_path / "store")
    run(source, tmp_path / "store")


def test_a_store_that_was_complete_is_not_built_again(source: Path, tmp_path: Path) -> None:
    """Killed just before its last step."""
    store = run(source, tmp_path / "store")
    before = snapshot(store)
    store.rename(tmp_path / ".store.part")
    (tmp_path / ".store.part" / "records").mkdir()
    store = run(source, tmp_path / "store")
    assert snapshot(store) == before
    assert not (store / "records").exists()
    assert not (tmp_path / ".store.part").exists()
    MRISliceDataModule(str(store))


def test_from_python_tuples_will_do(source: Path, tmp_path: Path) -> None:
    for _ in range(2):
        run(source, tmp_path / "store", modalities=("FLAIR", "T1"))


def test_bad_files_stop_no_other_case(source: Path, tmp_path: Path) -> None:
    whole = run(source, tmp_path / "whole")
    good = {}
    for path in (source / "case_0" / "case_0_t2.nii.gz", source / "case_2" / "case_2_seg.nii.gz"):
        good[path] = path.read_bytes()
    truncated, mislabelled = good
    truncated.write_bytes(good[truncated][:-100])
    image = nib.load(mislabelled)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj) * 3, image.affine), mislabelled)
    message = stopped(source, tmp_path / "store", "case_0_t2.nii.gz")
    assert "case_2_seg.nii.gz: mask of case case_2 holds the unknown label" in message
    done = tmp_path / ".store.part" / "images" / "case_1.npy"
    written = done.stat().st_mtime_ns
    for path, content in good.items():
        path.write_bytes(content)
    store = run(source, tmp_path / "store")
    assert (store / "images" / "case_1.npy").stat().st_mtime_ns == written
    assert contents(store) == contents(whole)


def test_headers_of_all_cases_are_checked_before_any_volume_is_read(
    source: Path, tmp_path: Path
) -> None:
    (source / "case_0" / "case_0_t1.nii.gz").write_bytes(b"nonsense")
    path = source / "case_2" / "case_2_flair.nii.gz"
    nib.save(nib.Nifti1Image(np.ones((40, 44, 23), np.int16), nib.load(path).affine), path)
    refused(source, tmp_path / "store", r"case_0_t1.*\n.*case_2_flair.*shape \(40, 44, 23\)")


@pytest.mark.parametrize("damage", [lambda _: b"nonsense", lambda content: content[:-100]])
def test_all_bad_files_are_named(
    source: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    bad = sorted(source.glob("case_[02]/*_[tf]*"))
    for path in bad:
        path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError) as caught:
        run(source, tmp_path / "store")
    assert len(bad) == 8
    assert all(f"{path} (case case_" in str(caught.value) for path in bad)
    lines = str(caught.value).split("\n")
    assert len([line for line in lines if "store.part: keeps the finished" not in line]) == 8


def test_a_missing_file_is_named_beside_bad_ones(source: Path, tmp_path: Path) -> None:
    missing, bad = (next(source.glob(f"case_{number}/*_t2*")) for number in (0, 2))
    missing.unlink()
    bad.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="case case_0 has no T2 image") as caught:
        run(source, tmp_path / "store")
    assert f"{bad} (case case_2): " in str(caught.value)


def test_fold_without_untagged_slices_makes_no_store(source: Path, tmp_path: Path) -> None:
    rows = [f"{n},1" for n in range(24)]
    path = tagged_list(source, {f"case_{n}": rows for n in range(3)})
    word = "no training slice of fold 0 is untagged"
    stopped(path, tmp_path / "store", word, layout="datalist")


def odd_sizes(root: Path, make_case: MakeCase, *, stray: bool) -> Path:
    """Cases of three sizes; the mask of the smallest may have a label far from its anatomy."""
    for number, side in enumerate((20, 60, 36)):
        make_case(root, f"case_{number}", seed=number, shape=(side + 24, side + 40, 24))
    path = root / "case_0" / "case_0_seg.nii.gz"
    image = nib.load(path)
    labels = np.asarray(image.dataobj).copy()
    for modality in ("t1", "t1ce", "t2", "flair"):
        place = path.with_name(f"case_0_{modality}.nii.gz")
        volume = np.asarray(nib.load(place).dataobj).copy()
        volume[:14] = 0
        nib.save(nib.Nifti1Image(volume, image.affine), place)
    labels[1, 1, 13] = 2 * stray
    nib.save(nib.Nifti1Image(labels, image.affine), path)
    return root


@pytest.mark.parametrize("stray", [False, True])
@pytest.mark.parametrize("options", [{}, {"slice_step": 2}, {"spacing": 1.7}])
def test_the_common_size_is_as_if_it_had_been_given(
    make_case: MakeCase, tmp_path: Path, stray: bool, options: dict[str, object]
) -> None:
    source = odd_sizes(tmp_path / "brats", make_case, stray=stray)
    options = {"min_anatomy": 0.08, **options}
    found = run(source, tmp_path / "found", **options)
    manifest = json.loads((found / "manifest.json").read_text())
    given = run(source, tmp_path / "given", **options, size=manifest["spec"]["size"])
    assert manifest["cases"] == json.loads((given / "manifest.json").read_text())["cases"]
    one, other = contents(found), contents(given)
    del one["manifest.json"], other["manifest.json"]  # which tells the options
    assert one == other


def test_a_label_beyond_the_common_size_is_no_tag(make_case: MakeCase, tmp_path: Path) -> None:
    source = odd_sizes(tmp_path / "brats", make_case, stray=True)
    for number in (1, 2):
        shutil.rmtree(source / f"case_{number}")
        make_case(source, f"case_{number}", seed=number, shape=(24, 40, 24))
    store = run(source, tmp_path / "store", min_anatomy=0.0, classes={"whole": [2, 4]})
    for case in json.loads((store / "manifest.json").read_text())["cases"]:
        mask = np.load(store / "masks" / f"{case['id']}.npy")
        assert mask.shape[2:] == np.load(store / "valid" / f"{case['id']}.npy").shape[1:]
        assert mask.any(axis=(2, 3)).astype(int).tolist() == case["tags"]


def test_interruption_while_sizes_are_fitted(
    make_case: MakeCase, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = odd_sizes(tmp_path / "brats", make_case, stray=False)
    whole = run(source, tmp_path / "whole")
    with interrupted_at(monkeypatch, 11):  # three arrays of three cases come first
        run(source, tmp_path / "store")
    assert not (tmp_path / "store").exists()
    assert contents(run(source, tmp_path / "store")) == contents(whole)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"size": [30, 32]}, "--size"),
        ({"spacing": 0.0}, "--spacing"),
        ({"slice_step": 0}, "--slice_step"),
        ({"min_anatomy": 1.0}, "--min_anatomy"),
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


def test_too_little_anatomy(source: Path, tmp_path: Path) -> None:
    message = stopped(source, tmp_path / "store", "lower --min_anatomy", min_anatomy=0.99)
    assert message.count("lower --min_anatomy") == 3


def test_folder_of_something_else_is_not_touched(source: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("dear")
    refused(source, tmp_path / "home", "is not empty and holds no slice store", overwrite=True)


def test_a_store_behind_a_link(source: Path, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk" / "store")
    run(source, tmp_path / "link")
    run(source, tmp_path / "link", seed=1, overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["store"]


def test_the_order_of_classes_is_that_of_the_channels(source: Path, tmp_path: Path) -> None:
    """Cases that were finished under another order must not lie beside the others."""
    one: dict[str, list[int]] = {"whole": [1, 2, 4], "core": [1, 4]}
    other = dict(reversed(one.items()))
    broken = sorted(source.rglob("*_t1.nii.gz"))[-1]
    kept = broken.read_bytes()
    broken.write_bytes(kept[: len(kept) // 2])
    stopped(source, tmp_path / "store", "truncated", classes=one)
    broken.write_bytes(kept)
    store = run(source, tmp_path / "store", classes=other)
    assert contents(store) == contents(run(source, tmp_path / "anew", classes=other))
    refused(source, store, "with other options .*classes", classes=one)


def test_a_store_of_another_version_is_not_taken_for_complete(source: Path, tmp_path: Path) -> None:
    store = run(source, tmp_path / "store")
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps(manifest | {"format": 1}))
    refused(source, store, "was prepared by another version of wsseg; .* --overwrite true")
    run(source, store, overwrite=True)
    assert json.loads((store / "manifest.json").read_text()) == manifest


def test_this_folder_as_store(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=f"{tmp_path}: is not empty and holds no slice"):
        run(source, Path())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["brats"]


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
        ([*ROWS, "3,1"], "line 26"),
        ([*ROWS[:5], "5,2"], "line 7"),
        (["700,1"], r"line 2 .*\(slice '700', tumour '1'\)"),
        (["one,1"], "line 2"),
        (["0,0.5"], r"line 2 .*\(slice '0', tumour '0\.5'\)"),
        (["0,nan"], "line 2"),
        (["0"], "line 2"),
    ],
)
def test_bad_tags(source: Path, tmp_path: Path, rows: list[str], word: str) -> None:
    path = tagged_list(source, {"case_0": ROWS, "case_1": rows})
    refused(path, tmp_path / "store", word, layout="datalist", folds=2)


def test_a_table_that_lacks_a_slice(source: Path, tmp_path: Path) -> None:
    path = tagged_list(source, {"case_0": ROWS, "case_1": ROWS[:15]})
    stopped(path, tmp_path / "store", "lack slice 15", layout="datalist", folds=2)
    tagged_list(source, {"case_0": ROWS, "case_1": ROWS})
    run(path, tmp_path / "store", layout="datalist", folds=2)


def masked_list(source: Path, rows: list[str]) -> Path:
    path = tagged_list(source, {"case_0": ROWS, "case_1": rows})
    content = json.loads(path.read_text())
    content["classes"] = {"tumour": [2, 4]}
    for case in content["cases"]:
        case["mask"] = f"{case['id']}/{case['id']}_seg.nii.gz"
    path.write_text(json.dumps(content))
    return path


REVERSED = [f"{n},{int(6 <= n < 12)}" for n in range(24)]


def noisy(rows: list[str], *numbers: int) -> list[str]:
    flipped = {n: f"{n},{1 - int(rows[n][-1])}" for n in numbers}
    return [flipped.get(n, row) for n, row in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "places"),
    [
        (REVERSED, "12 of 24 slices, first in slice 6"),
        (REVERSED[:15], "9 of 15 slices, first in slice 6"),
        (noisy(REVERSED, 3), "13 of 24 slices, first in slice 3"),
    ],
)
def test_tags_counted_from_the_other_end(
    source: Path, tmp_path: Path, rows: list[str], places: str
) -> None:
    path = masked_list(source, rows)
    message = stopped(path, tmp_path / "store", "look reversed", layout="datalist", folds=2)
    assert f"tags of case case_1 disagree with its mask in {places}" in message
    assert "case_0.csv" not in message


def test_noisy_tags_are_taken_with_a_warning(source: Path, tmp_path: Path) -> None:
    path = masked_list(source, noisy(ROWS, 12, 20))
    word = r"case_1 disagree with its mask in 2 of 24 slices, first in slice 12; training uses"
    with pytest.warns(UserWarning, match=word):
        store = run(path, tmp_path / "store", layout="datalist", folds=2)
    cases = json.loads((store / "manifest.json").read_text())["cases"]
    row = cases[1]["positions"].index(12)
    assert [case["tags"][row] for case in cases] == [[1], [0]]


def test_tags_that_fit_the_mask_need_no_warning(
    source: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    run(masked_list(source, ROWS), tmp_path / "store", layout="datalist", folds=2)
    assert not any("disagree" in str(each.message) for each in recwarn.list)


def test_neither_mask_nor_tags(source: Path, tmp_path: Path) -> None:
    (source / "case_1" / "case_1_seg.nii.gz").unlink()
    refused(source, tmp_path / "store", "case case_1 has neither mask nor tags")


def test_kept_slices() -> None:
    areas = {1: 0, 2: 8, 3: 8, 5: 8, 6: 9, 7: 8}
    assert keep_slices(areas, (4, 4), 0.0) == [2, 3, 5, 6, 7]
    assert keep_slices(areas, (4, 4), 0.5) == [2, 3, 5, 6, 7]
    assert keep_slices(areas, (4, 4), 0.5, step=2) == [2, 6]
    assert keep_slices(areas, (4, 4), 0.6) == []


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
