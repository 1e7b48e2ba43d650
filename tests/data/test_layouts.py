"""Cases are found under every name that data sets use; what is amiss is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from wsseg.data.layouts import detect, find_cases
from wsseg.data.layouts.cases import shared_patients
from wsseg.data.slicing import volume_to_slices
from wsseg.data.spec import DataSpec
from wsseg.data.volumes import read_case_images, read_case_mask
from wsseg.utils.errors import InputError, results

OLD = ("_t1", "_t1ce", "_t2", "_flair")
NEW = ("-t1n", "-t1c", "-t2w", "-t2f")


def touch(folder: Path, case: str, endings: tuple[str, ...], extension: str = ".nii.gz") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for ending in endings:
        (folder / f"{case}{ending}{extension}").touch()


@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
@pytest.mark.parametrize(("endings", "seg"), [(OLD, "_seg"), (NEW, "-seg")])
@pytest.mark.parametrize("place", ["{}", "HGG/{}", "LGG/{}", "."])
def test_brats(
    tmp_path: Path, place: str, endings: tuple[str, ...], seg: str, extension: str
) -> None:
    for case in ("BraTS_2", "BraTS_1"):
        touch(tmp_path / place.format(case), case, (*endings, seg), extension)
        (tmp_path / place.format(case) / f"._{case}_t1.nii.gz").touch()
    assert detect(tmp_path) == "brats"
    found = find_cases("brats", tmp_path)
    assert found.modalities == ("T1", "T1ce", "T2", "FLAIR")
    assert [case.id for case in found.cases] == ["BraTS_1", "BraTS_2"]
    names = [found.cases[0].images[m].path.name for m in found.modalities]
    assert names == [f"BraTS_1{ending}{extension}" for ending in endings]
    assert found.cases[0].mask is not None
    assert found.cases[0].mask.name == f"BraTS_1{seg}{extension}"


def test_single_brats_case_without_mask_and_chosen_modalities(tmp_path: Path) -> None:
    touch(tmp_path / "a", "a", ("_t1", "_flair"))
    found = find_cases("brats", tmp_path / "a", ["FLAIR", "T1"])
    assert list(found.cases[0].images) == ["FLAIR", "T1"]
    assert found.cases[0].mask is None
    with pytest.raises(InputError, match="case a has no T1ce image"):
        results(find_cases("brats", tmp_path / "a").faults)
    with pytest.raises(InputError, match="has no modality PET"):
        find_cases("brats", tmp_path / "a", ["PET"])


def test_brats_twins(tmp_path: Path) -> None:
    for folder in ("HGG/a", "LGG/a"):
        touch(tmp_path / folder, "a", OLD)
    with pytest.raises(InputError, match="two cases are called a"):
        find_cases("brats", tmp_path)
    touch(tmp_path / "LGG/a", "a", ("_t1",), ".nii")
    with pytest.raises(InputError, match="already has"):
        find_cases("brats", tmp_path / "LGG")


def test_time_points_of_a_patient(tmp_path: Path) -> None:
    names = ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001", "BraTS-GLI-00002-000", "TCGA_1-001")
    for case in names:
        touch(tmp_path / case, case, NEW)
    found = shared_patients(find_cases("brats", tmp_path).cases)
    assert found == dict.fromkeys(names[:2], "BraTS-GLI-00001")


@pytest.mark.parametrize("layout", ["brats", "lgg"])
def test_no_case(tmp_path: Path, layout: str) -> None:
    with pytest.raises(InputError, match="holds no case"):
        find_cases(layout, tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        find_cases(layout, tmp_path / "nowhere")
    with pytest.raises(InputError, match="no known layout"):
        detect(tmp_path)


def write_decathlon(root: Path) -> None:
    content = {
        "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
        "labels": {"0": "background", "1": "edema", "2": "non-enhancing tumor"},
        "training": [
            {"image": "./imagesTr/BRATS_002.nii.gz", "label": "./labelsTr/BRATS_002.nii.gz"},
            {"image": "./imagesTr/BRATS_001.nii.gz", "label": "./labelsTr/BRATS_001.nii.gz"},
        ],
        "test": ["./imagesTs/BRATS_003.nii.gz"],
    }
    (root / "dataset.json").write_text(json.dumps(content))
    touch(root / "imagesTs", "BRATS_003", ("",))


def test_decathlon(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    assert detect(tmp_path) == detect(tmp_path / "dataset.json") == "decathlon"
    found = find_cases("decathlon", tmp_path, ["T1ce", "FLAIR"])
    assert [case.id for case in found.cases] == ["BRATS_001", "BRATS_002"]
    assert [image.channel for image in found.cases[0].images.values()] == [2, 0]
    assert found.classes == {"tumour": (1, 2)}
    assert found.labels == {0, 1, 2}


def test_a_tumour_beside_something_else_is_a_class_of_its_own(tmp_path: Path) -> None:
    """As in the task of hepatic vessels."""
    write_decathlon(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    content |= {"modality": {"0": "CT"}, "labels": {"0": "bg", "1": "Vessel", "2": "Tumour"}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert find_cases("decathlon", tmp_path).classes == {"Vessel": (1,), "Tumour": (2,)}


def test_decathlon_test_images(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    assert detect(tmp_path / "imagesTs") == "decathlon"
    touch(tmp_path / "imagesTs", "BRATS_004", ("",), ".NII.GZ")
    cases = find_cases("decathlon", tmp_path / "imagesTs").cases
    assert [(case.id, case.mask) for case in cases] == [("BRATS_003", None), ("BRATS_004", None)]


def test_an_entry_of_a_decathlon_task_without_a_mask(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    del content["training"][1]["label"]
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert [case.mask is None for case in find_cases("decathlon", tmp_path).cases] == [True, False]


def test_labels_of_a_decathlon_task(tmp_path: Path) -> None:
    write_decathlon(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    content |= {"modality": {"0": "CT"}, "labels": {"0": "bg", "1": "cyst", "2": "cyst", "3": "x"}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert find_cases("decathlon", tmp_path).classes == {"cyst": (1, 2), "x": (3,)}
    content["labels"] = {"0": "bg", "1_0": "cyst"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"dataset\.json: `labels` must name the labels of masks"):
        find_cases("decathlon", tmp_path)


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"modality": {"1": "T1"}}'])
def test_bad_decathlon(tmp_path: Path, content: str) -> None:
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=r"dataset\.json"):
        find_cases("decathlon", tmp_path)


@pytest.mark.parametrize("entry", ["modality", "labels", "training", "test"])
@pytest.mark.parametrize("value", [None, 7, "x", [[]], {"x": []}, {"1": 7}])
def test_a_wrong_part_of_a_decathlon_task(tmp_path: Path, entry: str, value: object) -> None:
    write_decathlon(tmp_path)
    content = json.loads((tmp_path / "dataset.json").read_text())
    content |= {"training": [], entry: value}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    if entry == "labels" and value == {"1": 7}:  # names may be anything
        assert find_cases("decathlon", tmp_path).labels == {0, 1}
        return
    with pytest.raises(InputError, match=rf"dataset\.json: .*`{entry}`.*; correct"):
        find_cases("decathlon", tmp_path)


def write_lgg(root: Path, case: str, slices: int = 11) -> np.ndarray:
    (root / case).mkdir(parents=True)
    images = np.random.default_rng(0).integers(1, 255, (slices, 20, 24, 3)).astype(np.uint8)
    for number, image in enumerate(images, start=1):
        tifffile.imwrite(root / case / f"{case}_{number}.tif", image, photometric="rgb")
        mask = np.zeros((20, 24), np.uint8)
        mask[2:4, 5:9] = 255 * (number == 10)
        tifffile.imwrite(root / case / f"{case}_{number}_mask.tif", mask)
    return images


def test_lgg(tmp_path: Path) -> None:
    truth = write_lgg(tmp_path, "TCGA_CS_4941_19960909")
    assert detect(tmp_path) == "lgg"
    assert detect(tmp_path / "TCGA_CS_4941_19960909") == "lgg"
    found = find_cases("lgg", tmp_path, ["FLAIR", "T1"])
    case = found.cases[0]
    images = read_case_images(case, found.modalities)
    assert [volume.shape for volume in images.volumes] == [(24, 20, 11)] * 2
    spec = DataSpec(found.modalities, found.classes, "axial", None, (32, 32))
    shown = volume_to_slices(images.volumes, images.affine, spec).image[3, 0, 6:26, 4:28]
    assert np.corrcoef(shown.ravel(), truth[3, :, :, 1].ravel())[0, 1] > 0.99
    mask = read_case_mask(case, (0, 1), images).volume
    assert mask[5:9, 2:4, 9].all()
    assert mask.sum() == 8


def test_lgg_gaps(tmp_path: Path) -> None:
    write_lgg(tmp_path, "a")
    case = find_cases("lgg", tmp_path).cases[0]
    (tmp_path / "a" / "a_4.tif").unlink()
    with pytest.raises(InputError, match="case a lacks slice 4"):
        read_case_images(case, ("T1",))


def datalist(tmp_path: Path, name: str = "list.json", **changes: object) -> Path:
    content = {
        "modalities": ["FLAIR", "T1"],
        "classes": {"tumour": [1]},
        "cases": [{"id": "case_0", "images": {"FLAIR": "a.nii", "T1": "b.nii"}, "mask": "m.nii"}],
    }
    path = tmp_path / name
    path.write_text(json.dumps(content | changes))  # JSON is YAML too
    return path


@pytest.mark.parametrize("name", ["list.json", "list.yaml"])
def test_datalist(tmp_path: Path, name: str) -> None:
    path = datalist(tmp_path, name, labels=[5])
    assert detect(path) == "datalist"
    found = find_cases("datalist", path)
    assert not shared_patients(found.cases)
    assert found.modalities == ("FLAIR", "T1")
    assert found.classes == {"tumour": (1,)}
    assert found.labels == {0, 1, 5}
    assert found.cases[0].images["T1"].path == tmp_path / "b.nii"
    assert (found.cases[0].mask, found.cases[0].tags) == (tmp_path / "m.nii", None)


IMAGES = {"FLAIR": "a.nii", "T1": "b.nii"}


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "cannot be used as a file name"),
        (".hidden", "cannot be used as a file name"),
        ("a//b", "cannot be used as a file name"),
        ("/a", "cannot be used as a file name"),
        ("a/", "cannot be used as a file name"),
        ("a/../b", "cannot be used as a file name"),
        ("a/.b", "cannot be used as a file name"),
        ("a\\b", "cannot be used as a file name"),
        ("a\nb", "signs that cannot be printed"),
        ("a\tb", "signs that cannot be printed"),
        ("a\x1b[31mb", "signs that cannot be printed"),
        ("a\x00b", "signs that cannot be printed"),
        ("a\u202eb", "signs that cannot be printed"),
        ("a\udc80b", "signs that cannot be printed"),
        ("a" * 201, "longer than 200 bytes"),
        ("ö" * 101, "longer than 200 bytes"),
    ],
)
def test_ids_that_no_file_can_have(tmp_path: Path, name: str, problem: str) -> None:
    path = datalist(tmp_path, cases=[{"id": name, "images": IMAGES}])
    with pytest.raises(InputError, match=problem) as caught:
        results(find_cases("datalist", path).faults)
    assert str(caught.value).startswith(f"{path}: case id ")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["BraTS-GLI-00001-000", "Käthe Ö.", "患者7", "a" * 200, "a/b.c/d"])
def test_ids_that_files_can_have(tmp_path: Path, name: str) -> None:
    (case,) = find_cases(
        "datalist", datalist(tmp_path, cases=[{"id": name, "images": IMAGES}])
    ).cases
    assert case.id == name
    path = tmp_path / f"{name}.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".part-{path.name}").touch()


def test_ids_from_names_of_files(tmp_path: Path) -> None:
    touch(tmp_path / "a\tb", "a\tb", OLD)
    with pytest.raises(InputError, match=r"case id 'a\\tb' holds signs that cannot be printed"):
        find_cases("brats", tmp_path)


def test_a_wrong_value_is_not_repeated_at_length(tmp_path: Path) -> None:
    path = datalist(tmp_path, cases=[{"id": list(range(10**5)), "images": IMAGES}])
    with pytest.raises(InputError, match="quote the id") as caught:
        results(find_cases("datalist", path).faults)
    assert len(str(caught.value)) < 300
