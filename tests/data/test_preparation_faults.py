"""What `wsseg prepare` does with odd sources: it either works or says one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
import yaml

from wsseg.data.file_checks import check_files
from wsseg.data.layouts import CaseFiles, ImageFile, detect, find_cases
from wsseg.data.preparation import prepare
from wsseg.data.preparation_checks import warn_of_nesting
from wsseg.data.slicing import slices_to_volume, volume_to_slices
from wsseg.data.spec import DataSpec
from wsseg.data.store import SliceStore
from wsseg.data.tags import compare_tags, read_tags
from wsseg.utils.errors import InputError

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])


def patient(number: int) -> tuple[np.ndarray, np.ndarray]:
    """A box of noise and the labels of a tumour in its middle slices."""
    anatomy = np.zeros((24, 26, 12), bool)
    anatomy[4:20, 3:23, 2:10] = True
    labels = np.zeros(anatomy.shape, np.uint8)
    labels[8:12, 8:12, 4:7] = 1
    noise = np.random.default_rng(number).normal(100, 10, anatomy.shape)
    return np.where(anatomy, noise, 0).astype(np.float32), labels


def save(path: Path, volume: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(volume, AFFINE), path)


def write_datalist(root: Path, **content: object) -> Path:
    cases = []
    for number in range(4):
        image, labels = patient(number)
        save(root / f"c{number}.nii.gz", image)
        save(root / f"c{number}_mask.nii.gz", labels)
        paths = {"id": f"c{number}", "images": {"A": f"c{number}.nii.gz"}}
        cases.append({**paths, "mask": f"c{number}_mask.nii.gz"})
    listed = {"modalities": ["A"], "classes": {"tumour": [1]}, "cases": cases, **content}
    (root / "list.yaml").write_text(yaml.safe_dump(listed))
    return root / "list.yaml"


def spec_of(store: Path) -> DataSpec:
    return DataSpec.from_dict(json.loads((store / "manifest.json").read_text())["spec"])


def test_tcga_lgg_folder(tmp_path: Path) -> None:
    image, labels = patient(0)
    for number in range(12):
        stem = tmp_path / "source" / "TCGA_1" / f"TCGA_1_{number + 1}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        rgb = np.repeat(image[:, :, number].T[..., None], 3, axis=2).astype(np.uint8)
        tifffile.imwrite(f"{stem}.tif", rgb)
        tifffile.imwrite(f"{stem}_mask.tif", (labels[:, :, number].T * 255).astype(np.uint8))
    assert detect(tmp_path / "source") == detect(tmp_path / "source" / "TCGA_1") == "lgg"
    (case,) = find_cases("lgg", tmp_path / "source").cases
    assert case.id == "TCGA_1"
    assert case.mask == tmp_path / "source" / "TCGA_1"


def test_a_folder_of_no_layout_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "FLAIR.nii.gz", patient(0)[0])
    with pytest.raises(InputError, match="follows no known layout"):
        detect(tmp_path)


def test_an_empty_table_of_tags(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("")
    with pytest.raises(InputError, match="is empty"):
        read_tags(tmp_path / "tags.csv", "c0", {"tumour": (1,)}, 12)


def test_a_table_of_floating_point_numbers(tmp_path: Path) -> None:
    (tmp_path / "tags.csv").write_text("slice,tumour\n0.0,1.0\n1.0,0.0\n")
    assert read_tags(tmp_path / "tags.csv", "c0", {"tumour": (1,)}, 12) == {0: [1], 1: [0]}


@pytest.mark.parametrize("name", ["image.xyz", "image.raw", "image"])
def test_a_file_of_another_format(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"NRRD0004")
    with pytest.raises(InputError, match=rf"{name} \(case c0\): is not a readable .*; convert a"):
        check_files(CaseFiles("c0", {"T1": ImageFile(tmp_path / name)}), {"tumour": (1,)}, "axial")


def test_tags_of_another_axis(tmp_path: Path) -> None:
    """A line for each of 12 axial slices, where sagittal ones are asked for."""
    rows = [f"{n},{int(14 <= n < 18)}" for n in range(24)]
    shown = [[int(6 <= n < 10)] for n in range(24)]
    path = tmp_path / "tags.csv"
    path.write_text("\n".join(["slice,tumour", *rows[12:]]))
    table = read_tags(path, "c0", {"tumour": (1,)}, 24)
    with pytest.raises(InputError, match=r"of another axis\? there are 24 slices along --axis"):
        compare_tags(path, "c0", table, shown)


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ({"whole": [1], "core": [2]}, ["every slice tagged `core` is tagged `whole`"]),
        ({"whole": [1, 2], "core": [2]}, []),
        ({"core": [2], "other": [1]}, []),
    ],
)
def test_classes_that_nest_by_their_tags_alone(
    classes: dict[str, list[int]], told: list[str], recwarn: pytest.WarningsRecorder
) -> None:
    rows = {"whole": [0, 1, 1, 1], "core": [0, 0, 1, 0], "other": [1, 1, 0, 0]}
    tags = np.transpose([rows[name] for name in classes]).tolist()
    warn_of_nesting([tags, tags], classes)
    assert [str(each.message).partition(";")[0] for each in recwarn.list] == told


def test_coarse_slices_are_announced(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="anatomy is 20 pixels long in the median case"):
        prepare("datalist", write_datalist(tmp_path), tmp_path / "store", folds=2, workers=1)


def test_air_that_is_not_zero_is_left_out(tmp_path: Path) -> None:
    source = write_datalist(tmp_path)
    row, column, _ = np.indices((24, 26, 12))
    head = (row - 12) ** 2 + (column - 13) ** 2 < 100
    for air in (0, 1):
        for number in range(4):
            image, _ = patient(number)
            noise = air * np.random.default_rng(number).uniform(1, 5, image.shape)
            save(tmp_path / f"c{number}.nii.gz", np.where(head & (image > 0), image, noise))
        store = prepare("datalist", source, tmp_path / f"store{air}", folds=2, workers=1)
        plan = json.loads((store / "manifest.json").read_text())["spec"]["plan"]
        assert plan["body"] == ("threshold" if air else "nonzero")
        assert plan["reference"]["filling"][1] < 0.95


def test_levels_that_are_always_tagged_are_announced(tmp_path: Path) -> None:
    source = write_datalist(tmp_path)
    with pytest.warns(UserWarning, match="`tumour`: no slice is untagged at level"):
        prepare("datalist", source, tmp_path / "store", folds=2, workers=1)


def test_one_file_for_two_modalities(tmp_path: Path) -> None:
    image = ImageFile(tmp_path / "image.nii.gz")
    case = CaseFiles("c0", {"FLAIR": image, "T1": image._replace(channel=1), "T2": image})
    with pytest.raises(InputError, match="is named for both FLAIR and T2 of case c0"):
        check_files(case, {"tumour": (1,)}, "axial")


@pytest.mark.parametrize(("axis", "last"), [("axial", 11), ("coronal", 25), ("sagittal", 23)])
def test_rows_beyond_the_slicing_axis(tmp_path: Path, axis: str, last: int) -> None:
    save(tmp_path / "image.nii.gz", patient(0)[0])
    path = tmp_path / "tags.csv"
    case = CaseFiles("c0", {"A": ImageFile(tmp_path / "image.nii.gz")}, tags=path)
    path.write_text(f"slice,tumour\n{last},1\n")
    check_files(case, {"tumour": (1,)}, axis)
    path.write_text(f"slice,tumour\n{last + 1},1\n")
    with pytest.raises(InputError, match=f"line 2 .* from 0 to {last} and"):
        check_files(case, {"tumour": (1,)}, axis)


def test_labels_that_a_scale_factor_has_rounded(tmp_path: Path) -> None:
    source = write_datalist(tmp_path / "source")
    save(tmp_path / "source" / "c1_mask.nii.gz", patient(1)[1] * np.float32(0.99999994))
    store = prepare("datalist", source, tmp_path / "store", folds=2, workers=1, min_anatomy=0.0)
    assert np.load(store / "masks" / "c1.npy").sum() == patient(1)[1].sum()


def test_new_classes_in_the_datalist_are_not_overlooked(tmp_path: Path) -> None:
    source = write_datalist(tmp_path)
    store = prepare("datalist", source, tmp_path / "store", folds=2, workers=1, min_anatomy=0.0)
    write_datalist(tmp_path, classes={"core": [1]})
    with pytest.raises(InputError, match="--overwrite"):
        prepare("datalist", source, store, folds=2, workers=1, min_anatomy=0.0)
    prepare("datalist", source, store, folds=2, workers=1, min_anatomy=0.0, overwrite=True)
    assert spec_of(store).classes == {"core": (1,)}


@pytest.mark.parametrize("damage", ["manifest", "array"])
def test_a_damaged_store_is_not_taken_for_complete(tmp_path: Path, damage: str) -> None:
    source = write_datalist(tmp_path)
    store = prepare("datalist", source, tmp_path / "store", folds=2, workers=1, min_anatomy=0.0)
    if damage == "manifest":
        (store / "manifest.json").write_text("{")
    else:
        (store / "images" / "c2.npy").unlink()
    with pytest.raises(InputError, match="--overwrite"):
        prepare("datalist", source, store, folds=2, workers=1, min_anatomy=0.0)
    prepare("datalist", source, store, folds=2, workers=1, min_anatomy=0.0, overwrite=True)
    assert (store / "images" / "c2.npy").is_file()


def test_an_entry_that_comes_twice(tmp_path: Path) -> None:
    """YAML takes the last one, so that cases would be lost without a word."""
    path = write_datalist(tmp_path)
    path.write_text(path.read_text() + "cases: []\n")
    with pytest.raises(InputError, match=r"at line 23 \(the key `cases` comes twice\)"):
        find_cases("datalist", path)


def test_the_same_files_under_two_names(tmp_path: Path) -> None:
    path = write_datalist(tmp_path)
    content = yaml.safe_load(path.read_text())
    content["cases"][3]["images"] = content["cases"][1]["images"]
    path.write_text(yaml.safe_dump(content))
    (tmp_path / "c0.nii.gz").unlink()  # which reading the files would find
    with pytest.raises(InputError, match=r"list\.yaml: cases c1 and c3 have the same images"):
        prepare("datalist", path, tmp_path / "store", folds=2, workers=1)


@pytest.mark.parametrize("entry", ["images", "mask", "tags"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_file_that_two_cases_share(tmp_path: Path, entry: str, linked: bool) -> None:
    path = write_datalist(tmp_path)
    content = yaml.safe_load(path.read_text())
    place = "shared.csv" if entry == "tags" else f"c1{'_mask' * (entry == 'mask')}.nii.gz"
    (tmp_path / "link").symlink_to(place)
    for number, value in ((1, place), (3, "link" if linked else f"./{place}")):
        content["cases"][number][entry] = {"A": value} if entry == "images" else value
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=rf"cases c1 and c3 have the same {entry} \(.*; correct"):
        prepare("datalist", path, tmp_path / "store", folds=2, workers=1)


@pytest.mark.parametrize("shared", [False, True])
def test_masks_that_are_equal_are_announced(
    tmp_path: Path, shared: bool, recwarn: pytest.WarningsRecorder
) -> None:
    """Whatever the type of the file is; masks that show nothing are often equal."""
    source = write_datalist(tmp_path)
    for number in range(4):
        labels = np.zeros((24, 26, 12), np.int16)
        labels[8 : 10 + number, 8:12, 4:7] = number > 1
        save(tmp_path / f"c{number}_mask.nii.gz", labels)
    if shared:
        save(tmp_path / "c2_mask.nii.gz", labels.astype(np.float32))
    prepare("datalist", source, tmp_path / "store", folds=2, workers=1, min_anatomy=0.0)
    told = [str(each.message) for each in recwarn.list if "the same mask" in str(each.message)]
    assert len(told) == shared
    assert all(message.startswith("cases c2 and c3 have the same mask") for message in told)


def test_an_image_in_place_of_the_mask(tmp_path: Path) -> None:
    image = ImageFile(tmp_path / "image.nii.gz")
    (tmp_path / "link.nii.gz").symlink_to(image.path)
    case = CaseFiles("c0", {"FLAIR": image}, tmp_path / "link.nii.gz")
    with pytest.raises(InputError, match="is named for both FLAIR and mask of case c0"):
        check_files(case, {"tumour": (1,)}, "axial")


def test_slices_that_would_not_fit_into_memory(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"spacing 0\.001: .* 26000 x 24000 pixels"):
        prepare("datalist", write_datalist(tmp_path), tmp_path / "store", folds=2, spacing=1e-3)


def listed_patients(path: Path, patients: dict[int, str]) -> None:
    content = yaml.safe_load(path.read_text())
    for number, patient in patients.items():
        content["cases"][number]["patient"] = patient
    path.write_text(yaml.safe_dump(content))


def test_classes_may_come_from_the_command_line_alone(tmp_path: Path) -> None:
    source = write_datalist(tmp_path, classes={})
    with pytest.raises(InputError, match="names no class; give --classes"):
        prepare("datalist", source, tmp_path / "store", folds=2, workers=1)
    store = prepare(
        "datalist", source, tmp_path / "store", classes={"tumour": [1]}, folds=2, workers=1
    )
    assert spec_of(store).classes == {"tumour": (1,)}


def test_splits_that_somebody_edited(tmp_path: Path) -> None:
    source = write_datalist(tmp_path)
    listed_patients(source, {0: "anna", 3: "anna"})
    store = SliceStore(prepare("datalist", source, tmp_path / "store", folds=2, workers=1))
    path = store.root / "splits.json"
    splits = json.loads(path.read_text())
    splits["folds"][0] = {"train": ["c0", "c1"], "val": [], "test": ["c2", "c3"]}
    path.write_text(json.dumps(splits))
    with pytest.raises(InputError, match="fold 0 has cases of patient anna in train and in test"):
        store.split(0)
    del splits["folds"][1]["val"]
    path.write_text(json.dumps(splits))
    with pytest.raises(InputError, match=r"splits\.json: fold 1 has no `val`; add it"):
        store.split(1)


def test_a_patient_with_two_cases_is_in_one_split(tmp_path: Path) -> None:
    source = write_datalist(tmp_path)
    store = prepare("datalist", source, tmp_path / "store", folds=4, workers=1, min_anatomy=0.0)
    listed_patients(source, {0: "anna", 2: "anna", 3: "ben"})
    with pytest.raises(InputError, match="there are only 3 patients"):
        prepare("datalist", source, store, folds=4, workers=1, min_anatomy=0.0, overwrite=True)
    prepare("datalist", source, store, folds=3, workers=1, min_anatomy=0.0, overwrite=True)
    folds = json.loads((store / "splits.json").read_text())["folds"]
    assert sorted(fold["test"] for fold in folds) == [["c0", "c2"], ["c1"], ["c3"]]
    prepare("datalist", source, store, folds=3, workers=1, min_anatomy=0.0)
    listed_patients(source, {1: "ben"})
    with pytest.raises(InputError, match="--overwrite"):
        prepare("datalist", source, store, folds=3, workers=1, min_anatomy=0.0)


def test_stacks_of_few_planes_that_begin_with_nothing_are_not_the_same(tmp_path: Path) -> None:
    source = write_datalist(tmp_path)
    for number in range(4):
        for name in (f"c{number}.nii.gz", f"c{number}_mask.nii.gz"):
            volume = nib.load(tmp_path / name).get_fdata()[:, :, 1:6]
            save(tmp_path / name, volume.astype(np.float32))
    prepare("datalist", source, tmp_path / "store", folds=2, workers=1, min_anatomy=0.0)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_same_images_under_two_names(tmp_path: Path, kind: type) -> None:
    """Whatever the bytes of the file are: data sets are released again, packed anew."""
    source = write_datalist(tmp_path)
    save(tmp_path / "c3.nii.gz", patient(1)[0].astype(kind))
    with pytest.raises(InputError, match="cases c1 and c3 have the same images"):
        prepare("datalist", source, tmp_path / "store", folds=2, workers=1, min_anatomy=0.0)


@pytest.mark.parametrize(("size", "options"), [(0.5, {}), (0.5, {"spacing": 1.0}), (0.97, {})])
def test_mixed_pixel_sizes(
    tmp_path: Path, size: float, options: dict[str, Any], recwarn: pytest.WarningsRecorder
) -> None:
    source = write_datalist(tmp_path)
    for kind, volume in zip(("", "_mask"), patient(1), strict=True):
        image = nib.Nifti1Image(volume, AFFINE @ np.diag([size, size, 1, 1]))
        nib.save(image, tmp_path / f"c1{kind}.nii.gz")
    options = {"folds": 2, "workers": 1, "min_anatomy": 0.0, **options}
    prepare("datalist", source, tmp_path / "store", **options)
    told = [str(each.message) for each in recwarn.list if " mm" in str(each.message)]
    if size == 0.5 and "spacing" not in options:
        (message,) = told
        assert "0.5 to 1 mm" in message
        assert "--spacing 1 " in message
    else:
        assert not told


def test_prediction_reaches_all_of_a_larger_head() -> None:
    image = np.zeros((1, 80, 90, 3), np.float32)
    image[:, 5:75, 5:85] = np.random.default_rng(0).normal(9, 1, (1, 70, 80, 3))
    spec = DataSpec(("A",), {"tumour": (1,)}, "axial", None, (64, 64))
    slices = volume_to_slices(image, np.eye(4), spec, grow=True)
    everywhere = np.ones((3, 1, *slices.geometry.size), np.float32)
    assert (slices_to_volume(everywhere, slices.geometry)[0][image[0] != 0] == 1).all()


def test_real_images_whose_background_is_not_zero(shared_data: Path, tmp_path: Path) -> None:
    folders = sorted((shared_data / "brats2015-demo").glob("*_1"))[:2]
    cases = [
        {
            "id": folder.name,
            "images": {"FLAIR": str(folder / "Flair_subtrMeanDivStd.nii.gz")},
            "mask": str(folder / "OTMultiClass.nii.gz"),
        }
        for folder in folders
    ]
    content = {"modalities": ["FLAIR"], "classes": {"tumour": [1, 2, 3, 4]}, "cases": cases}
    (tmp_path / "list.json").write_text(json.dumps(content))
    store = prepare(
        "datalist",
        tmp_path / "list.json",
        tmp_path / "store",
        folds=2,
        workers=1,
        spacing=3.0,
        min_anatomy=0.0,
    )
    assert max(spec_of(store).size) < 80  # a whole plane would be 80
    brain = np.asanyarray(nib.load(folders[0] / "brainmask.nii.gz").dataobj) > 0.5
    found = np.load(store / "valid" / f"{folders[0].name}.npy").sum() * 9
    assert found == pytest.approx(brain.sum(), rel=0.03)
