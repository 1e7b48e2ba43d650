"""A table of images with their tags: what its columns mean, and what is refused."""

from __future__ import annotations

import csv
import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from wsseg.data.layouts import detect, find_cases
from wsseg.data.layouts.cases import CaseFiles, CaseList, ImageFile, MaskFile
from wsseg.data.preparation import prepare
from wsseg.data.store import SliceStore
from wsseg.utils.errors import InputError, results


def picture(path: Path, seed: int, shape: tuple[int, ...] = (24, 32), square: bool = True) -> None:
    """Write noise with a bright square, and the square as a mask in ``masks`` beside its folder."""
    pixels = np.random.default_rng(seed).integers(1, 90, shape).astype(np.uint8)
    pixels[4:12, 6:16] += 120 * square
    mask = np.zeros(shape[:2], np.uint8)
    mask[4:12, 6:16] = 255 * square
    for place, array in ((path, pixels), (path.parents[1] / "masks" / path.name, mask)):
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(array).save(place)


def write(folder: Path, text: str, name: str = "tags.csv") -> Path:
    (folder / name).write_text(text)
    return folder / name


def listed(folder: Path, text: str, modalities: Sequence[str] | None = None) -> CaseList:
    return find_cases("table", write(folder, text), modalities)


def one(folder: Path, text: str) -> CaseFiles:
    found = listed(folder, text)
    results(found.faults)
    return found.cases[0]


def test_pictures(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", 0)
    text = "image,mask,patient,cyst,mass\nimages/a.png,masks/a.png,ann,0,1\nimages/b.png,,ben,1,0\n"
    found = listed(tmp_path, text)
    assert detect(tmp_path / "tags.csv") == "table"
    assert (found.modalities, found.classes, found.labels) == (
        ("image",),
        {"cyst": (1,), "mass": (2,)},
        None,
    )
    a, b = found.cases
    assert [a.id, b.id] == ["images/a", "images/b"]
    assert a.images == {"image": ImageFile(tmp_path / "images" / "a.png")}
    assert (a.mask, a.patient) == (tmp_path / "masks" / "a.png", "ann")
    assert (b.mask, b.patient) == (None, "ben")
    assert [tags.cells for tags in (a.tags, b.tags)] == [  # type: ignore[union-attr]
        {"cyst": "0", "mass": "1"},
        {"cyst": "1", "mass": "0"},
    ]


@pytest.mark.parametrize(
    "column", ["Patient_ID", "patientID", "patient id", "Subject", "subject-id", "PID"]
)
def test_columns_of_patients(tmp_path: Path, column: str) -> None:
    text = f"image,{column},mass\na.png,Ann 1,1\nb.png, ann 1 ,0\nc.png,17,0\n"
    found = listed(tmp_path, text, ["image"])
    assert [case.patient for case in found.cases] == ["Ann 1", "Ann 1", "17"]


def test_patients_that_are_not_known(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="columns of patients, `patient`, `Subject ID`; keep one"):
        listed(tmp_path, "image,patient,Subject ID,mass\na.png,ann,1,1\n", ["image"])
    for column, cell in (("patient name", "ann"), ("Subject number", "12")):
        with pytest.raises(InputError, match=f"`{column}`, which may tell the patients"):
            listed(tmp_path, f"image,{column},mass\na.png,{cell},1\n", ["image"])
    assert listed(tmp_path, "image,inpatient\na.png,1\n", ["image"]).classes == {"inpatient": (1,)}
    (fault,) = listed(tmp_path, "image,pid,mass\na.png,ann,1\nb.png,,0\n", ["image"]).faults
    assert "line 3: names no patient, but other lines do" in str(fault)
    assert not listed(tmp_path, "image,pid,mass\na.png,,1\nb.png,,0\n", ["image"]).faults


def test_colours(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", 0, (24, 32, 3))
    text = "Image,Lesion\nimages/none.png,1\nimages\\a.png,0\n"
    found = listed(tmp_path, text)
    assert found.modalities == ("red", "green", "blue")
    assert [image.channel for image in found.cases[0].images.values()] == [0, 1, 2]
    assert listed(tmp_path, text, ["green", "red"]).modalities == ("green", "red")
    (case, _) = listed(tmp_path, text, ["image"]).cases  # whose colours may prove to be grey
    assert case.images["image"].channel is None
    with pytest.raises(InputError, match="has no modality FLAIR; choose each once from red, green"):
        listed(tmp_path, text, ["FLAIR", "T1"])


def test_a_grey_picture_serves_a_network_for_colours(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", 0)
    found = listed(tmp_path, "image\nimages/a.png\n", ["red", "green", "blue"])
    assert [image.channel for image in found.cases[0].images.values()] == [0, 1, 2]
    assert found.classes == {}
    assert found.cases[0].tags is None


def test_a_file_for_each_modality(tmp_path: Path) -> None:
    text = "image:FLAIR;image: T1;tumour\nann/flair.nii.gz;ann/t1.nii.gz;12-40;\n"
    with pytest.raises(InputError, match="line 2 has 4 cells for 3 columns"):
        listed(tmp_path, text)
    text = 'image:FLAIR;image: T1;tumour\nann/flair.nii.gz;ann/t1.nii.gz;"12-40;55"\n'
    found = listed(tmp_path, text)
    assert found.modalities == ("FLAIR", "T1")
    assert found.cases[0].id == "ann"
    assert found.cases[0].images["T1"] == ImageFile(tmp_path / "ann" / "t1.nii.gz")
    assert listed(tmp_path, text, ["T1"]).modalities == ("T1",)
    found = listed(tmp_path, "image:FLAIR,image:T1\na.nii,\n")
    with pytest.raises(InputError, match=r"tags\.csv: line 2: case a has no T1 image"):
        results(found.faults)


def test_a_mask_for_each_class(tmp_path: Path) -> None:
    text = "image,mask:b,mask:a,a,b\nx.png,b.png,,0,1\ny.png,b2.png,a2.png,1,1\n"
    x, y = listed(tmp_path, text).cases
    assert x.mask == (MaskFile(tmp_path / "b.png", 2),)
    assert y.mask == (MaskFile(tmp_path / "b2.png", 2), MaskFile(tmp_path / "a2.png", 1))
    found = listed(tmp_path, "image,mask:b,mask:a\nx.png,b.png,a.png\n")  # tags come from them
    assert found.classes == {"b": (1,), "a": (2,)}
    assert found.cases[0].tags is None


def test_images_without_findings_have_empty_masks_where_others_have_masks(tmp_path: Path) -> None:
    text = "image,mask,a,b\nx.png,x_mask.png,1,0\ny.png,,0,0.0\nz.png,,0,1\nu.png,,0,\n"
    u, _, y, z = listed(tmp_path, text).cases
    assert (u.mask, y.mask, z.mask) == (None, (), None)
    assert all(case.mask is None for case in listed(tmp_path, text.replace("x_mask.png", "")).cases)
    source = table_of_pictures(tmp_path)
    write(tmp_path, source.read_text().replace("masks/2.png", ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = prepare("table", source, tmp_path / "store", folds=3, workers=1)
    assert not np.load(store / "masks" / "images" / "2.npy").any()


def test_columns_that_are_no_tags(tmp_path: Path) -> None:
    text = (
        "image,age,note,grade,lesion,empty,,malignant\n"
        "a,1,mild,0,1,,,0\nb,57,,2,0,,,\nc,62,x,3,1,,,1\nd,4,,1,0,,x,1\n"
    )
    with pytest.warns(UserWarning, match=r"tags\.csv: `age`, `note`, `grade`, `empty` not used"):
        found = listed(tmp_path, text)
    assert found.classes == {"lesion": (1,), "malignant": (2,)}


def test_ids(tmp_path: Path) -> None:
    assert one(tmp_path, "image,ID,x\na/b.png,Käthe/2,1\n").id == "Käthe/2"
    assert one(tmp_path, "image,id,x\na/b.png,,1\n").id == "a/b"
    case = one(tmp_path, f"image,x\n{tmp_path}/a/b.png,1\n")
    assert (case.id, case.paths) == ("a/b", [tmp_path / "a" / "b.png"])
    assert one(tmp_path, "image,x\n/else/../a/b.png,1\n").id == "else/a/b"
    found = listed(tmp_path, "image,id,x\na/b.png,.c,1\n")
    with pytest.raises(InputError, match=r"tags\.csv: line 2: case id '\.c' cannot be used"):
        results(found.faults)


def table_of_pictures(folder: Path, count: int = 6, **columns: Sequence[Any]) -> Path:
    for number in range(count):
        picture(folder / "images" / f"{number}.png", number, square=number % 2 == 1)
    lines = [",".join(["image", "mask", "lesion", *columns])]
    for n in range(count):
        more = [str(values[n]) for values in columns.values()]
        lines.append(",".join([f"images/{n}.png", f"masks/{n}.png", str(n % 2), *more]))
    return write(folder, "\n".join(lines))


def test_pictures_become_a_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = table_of_pictures(tmp_path, patient=["p", "p", "q", "r", "s", "s"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small pictures
        store = prepare("table", source, tmp_path / "store", folds=3, workers=1)
    manifest = json.loads((store / "manifest.json").read_text())
    assert manifest["spec"]["classes"] == {"lesion": [1]}
    said = f"{source}: taken as classes, since their cells are tags: `lesion`; to leave one out"
    assert said in capsys.readouterr().out
    assert [case["tags"] for case in manifest["cases"]] == [[[0]], [[1]]] * 3
    assert {case.get("patient") for case in manifest["cases"]} == {"p", "s", None}
    mask = np.load(store / "masks" / "images" / "1.npy")
    assert mask.sum() == 80
    assert not np.load(store / "masks" / "images" / "0.npy").any()
    for fold in json.loads((store / "splits.json").read_text())["folds"]:
        assert any({"images/0", "images/1"} <= set(cases) for cases in fold.values())
    before = (store / "manifest.json").stat().st_mtime_ns
    prepare("table", source, store, folds=3, workers=1)
    assert (store / "manifest.json").stat().st_mtime_ns == before
    write(tmp_path, source.read_text().replace("masks/0.png,0", "masks/0.png,1"))
    with pytest.raises(InputError, match="was prepared from other files; name another"):
        prepare("table", source, store, folds=3, workers=1)


def test_an_empty_cell_is_an_unknown_tag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = table_of_pictures(tmp_path)
    write(tmp_path, source.read_text().replace("masks/2.png,0", "masks/2.png,"))
    store = prepare("table", source, tmp_path / "store", folds=3, workers=1)
    assert "unknown tags" in capsys.readouterr().out
    tags = {case.id: case.tags[0, 0] for case in SliceStore(store).cases.values()}
    assert tags.pop("images/2").isnan()
    assert set(map(float, tags.values())) == {0.0, 1.0}


def test_classes_that_are_joined(tmp_path: Path) -> None:
    source = table_of_pictures(tmp_path, other=[0, 0, 1, 0, 0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = prepare(
            "table",
            source,
            tmp_path / "store",
            classes={"finding": [1, 2], "lesion": [1]},
            folds=2,
            workers=1,
        )
    manifest = json.loads((store / "manifest.json").read_text())
    assert [case["tags"][0] for case in manifest["cases"]] == [
        [0, 0],
        [1, 1],
        [1, 0],
        [1, 1],
        [0, 0],
        [1, 1],
    ]


def test_volumes_with_masks_that_overlap(tmp_path: Path) -> None:
    lines = ["image:CT,mask:liver,mask:lesion,liver,lesion"]
    for number in range(4):
        rng = np.random.default_rng(number)
        image = np.zeros((24, 24, 8))
        image[2:-2, 2:-2] = rng.uniform(10, 90, (20, 20, 8))
        liver, lesion = np.zeros((2, 24, 24, 8))
        liver[4:12, 4:12, 2:6] = 1
        lesion[8:16, 4:6, 3:5] = 1 if number % 2 else 0
        for name, array in (("ct", image), ("liver", liver), ("lesion", lesion)):
            path = tmp_path / str(number) / f"{name}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), path)
        files = [f"{number}/{name}.nii.gz" for name in ("ct", "liver", "lesion")]
        lines.append(",".join([*files, "2-5", "3-4" if number % 2 else "0"]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = prepare(
            "table", write(tmp_path, "\n".join(lines)), tmp_path / "store", folds=2, workers=1
        )
    manifest = json.loads((store / "manifest.json").read_text())
    (case,) = (case for case in manifest["cases"] if case["id"] == "1/ct")
    assert case["tags"] == [[int(2 <= n <= 5), int(3 <= n <= 4)] for n in range(8)]
    masks = np.load(store / "masks" / "1" / "ct.npy")
    assert masks.sum(axis=(0, 2, 3)).tolist() == [8 * 8 * 4, 8 * 2 * 2]
    assert (masks[:, 0] & masks[:, 1]).sum() == 4 * 2 * 2


def test_masks_alone(tmp_path: Path) -> None:
    """Tags are read from them, once the command says what their labels mean."""
    source = table_of_pictures(tmp_path)
    lines = [line.rpartition(",")[0] for line in source.read_text().splitlines()]
    write(tmp_path, "\n".join(lines))
    with pytest.raises(InputError, match=r"names no class; give --classes .*add a column of 0 and"):
        prepare("table", source, tmp_path / "store", folds=3, workers=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = prepare(
            "table", source, tmp_path / "store", classes={"lesion": [1]}, folds=3, workers=1
        )
    manifest = json.loads((store / "manifest.json").read_text())
    assert [case["tags"] for case in manifest["cases"]] == [[[0]], [[1]]] * 3


@pytest.mark.parametrize("name", ["busi", "ph2-tiles", "kvasir-seg-tiles", "glas-goblet"])
def test_real_tables(shared_data: Path, tmp_path: Path, name: str) -> None:
    source = shared_data / name / "tags.csv"
    with source.open() as stream:
        columns, *rows = csv.reader(stream)
    assert len(find_cases("table", source).cases) == len(rows)
    some = [columns]
    for flag in "111000":  # of as many patients
        known = {row[2] for row in some}
        image, mask, *more = next(row for row in rows if row[3] == flag and row[2] not in known)
        some.append([f"{source.parent}/{image}", f"{source.parent}/{mask}", *more])
    table = write(tmp_path, "\n".join(map(",".join, some)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = prepare("table", table, tmp_path / "store", folds=2, workers=1, seed=1)
    for case in json.loads((store / "manifest.json").read_text())["cases"]:
        shown = np.load(store / "masks" / f"{case['id']}.npy")
        assert shown.any() == case["tags"][0][0]
