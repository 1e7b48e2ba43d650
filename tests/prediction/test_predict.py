"""Prediction from files to files: the mask lies on what was segmented, whatever the source."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import pytorch_lightning as pl
import SimpleITK as sitk  # noqa: N813 (its documentation calls it so)
import torch
from nibabel.affines import from_matvec
from PIL import Image
from torch import Tensor

from wsseg.cli import main
from wsseg.data.slicing import volume_to_slices
from wsseg.data.spec import DataSpec
from wsseg.models import CamModule, Finishing
from wsseg.prediction.command import predict
from wsseg.prediction.raw import RawCase
from wsseg.utils.errors import InputError

SHAPE = (28, 24, 20)
BLOCK = (slice(8, 16), slice(7, 13), slice(5, 14))


class BrightFlair(pl.LightningModule):
    """Finds what is bright in FLAIR: a prediction that is known exactly."""

    threshold = 0.5
    finishing = Finishing(refinement=0.0, smallest_component=0.0)

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        values: dict[str, Any] = {
            "modalities": ("T1", "FLAIR"),
            "classes": {"tumour": (1,)},
            "axis": "axial",
            "spacing": None,
            "size": (48, 48),
        }
        self.spec = DataSpec(**(values | changes))

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        flair = image[:, self.spec.modalities.index("FLAIR")]
        levels = torch.arange(len(self.spec.classes)).view(1, -1, 1, 1)
        return torch.sigmoid((flair[:, None] - 1.5) * 4 - levels) * valid[:, None]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> BrightFlair:
    """A module that stands in for whatever the checkpoint holds."""
    module = BrightFlair().eval()
    monkeypatch.setattr("wsseg.checkpoints.loading.load_module", lambda _: module)
    return module


def make_volumes(seed: int = 0) -> dict[str, np.ndarray]:
    """A T1 and a FLAIR volume of noise in a box, FLAIR with a bright block."""
    rng = np.random.default_rng(seed)
    volumes = {}
    for name in ("T1", "FLAIR"):
        volume = np.zeros(SHAPE, np.float32)
        volume[2:-2, 2:-2, 2:-2] = rng.normal(100, 5, [n - 4 for n in SHAPE])
        volumes[name] = volume
    volumes["FLAIR"][BLOCK] += 200
    return volumes


def write_brats(folder: Path, case: str, affine: np.ndarray, **header: Any) -> Path:
    """Write a case with BraTS names."""
    (folder / case).mkdir(parents=True)
    for name, volume in make_volumes().items():
        image = nib.Nifti1Image(volume, affine)
        image.set_qform(affine, header.get("qform", 1))
        image.set_sform(affine, header.get("sform", 1))
        nib.save(image, folder / case / f"{case}_{name.lower()}.nii.gz")
    return folder / case


def oriented(codes: str, tilt: float = 0.0, zooms: tuple[float, ...] = (1, 1, 1)) -> np.ndarray:
    """An affine of an orientation, turned about the first world axis."""
    turn = np.zeros((3, 3))
    for voxel_axis, (axis, sign) in enumerate(nib.orientations.axcodes2ornt(codes)):
        turn[int(axis), voxel_axis] = sign
    cos, sin = np.cos(np.deg2rad(tilt)), np.sin(np.deg2rad(tilt))
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return from_matvec(rotation @ turn @ np.diag(zooms), [10.5, -20.25, 33])


def truth() -> np.ndarray:
    """The block as a mask."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[BLOCK] = 1
    return mask


def files_in(folder: Path) -> list[str]:
    """All files of a folder, as paths below it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def run(source: Path, output: Path, **options: Any) -> list[Path]:
    """Predict with the fixture's module."""
    return predict(ckpt_path=Path("any.ckpt"), input=source, output=output, **options)


@pytest.mark.parametrize("axis", ["axial", "coronal", "sagittal"])
@pytest.mark.parametrize(
    ("codes", "tilt", "qform", "sform"),
    [("RAS", 0, 1, 1), ("LPS", 0, 1, 0), ("PIR", 0, 0, 2), ("AIL", 20, 1, 1), ("RAS", 30, 4, 0)],
)
def test_mask_is_the_block_on_its_source(
    tmp_path: Path,
    module: BrightFlair,
    axis: str,
    codes: str,
    tilt: float,
    qform: int,
    sform: int,
) -> None:
    module.spec = BrightFlair(axis=axis).spec
    affine = oriented(codes, tilt, (1, 1.5, 2))
    case = write_brats(tmp_path / "in", "case_0", affine, qform=qform, sform=sform)
    [path] = run(case, tmp_path / "out")

    source, mask = nib.load(case / "case_0_t1.nii.gz"), nib.load(path)
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), truth())
    np.testing.assert_array_equal(mask.affine, source.affine)
    assert (mask.header["qform_code"], mask.header["sform_code"]) == (qform, sform)
    ours, theirs = (sitk.ReadImage(str(p)) for p in (path, case / "case_0_t1.nii.gz"))
    for name in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        assert getattr(ours, name)() == getattr(theirs, name)()
    assert ours.GetPixel(8, 7, 5) == 1
    assert ours.GetPixel(7, 7, 5) == 0
    output = tmp_path / "out"
    assert files_in(output) == [
        "cases.csv",
        "labels.ctbl",
        "labels.txt",
        "masks/case_0.nii.gz",
        "pictures/case_0.png",
    ]
    assert np.asarray(Image.open(output / "pictures" / "case_0.png")).std() > 10


def test_pictures_have_the_proportions_of_the_patient(tmp_path: Path, module: BrightFlair) -> None:
    module.spec = BrightFlair(axis="coronal").spec
    widths = []
    for number, height in enumerate((1, 5)):  # panels have one height
        case = write_brats(tmp_path / "in", f"case_{number}", oriented("RAS", zooms=(1, 1, height)))
        run(case, tmp_path / "out")
        with Image.open(tmp_path / "out" / "pictures" / f"case_{number}.png") as picture:
            widths.append(picture.width)
    assert widths[0] > 1.5 * widths[1]


def test_coarser_slices_come_back_to_the_source(tmp_path: Path, module: BrightFlair) -> None:
    module.spec = BrightFlair(spacing=2.0, size=(32, 32)).spec
    [path] = run(write_brats(tmp_path / "in", "a", oriented("LPS")), tmp_path / "out")
    mask = np.asanyarray(nib.load(path).dataobj)
    assert mask.shape == SHAPE
    assert 2 * (mask & truth()).sum() / (mask.sum() + truth().sum()) > 0.85


def test_probabilities_come_back_to_the_source_before_they_become_masks() -> None:
    spec = BrightFlair(spacing=2.0, size=(16, 16)).spec
    volume = np.ones((2, 32, 32, 1), np.float32)
    image, valid, geometry = volume_to_slices(volume, np.eye(4), spec)
    case = RawCase(
        "a", torch.from_numpy(image), torch.from_numpy(valid), geometry, None, (), Path()
    )
    ramp = torch.arange(16.0).expand(1, 1, 16, 16) / 15
    mask = case.mask_of(ramp, 8.1 / 15)  # 15 voxels lie beyond pixel 8.1, 14 are nearest to those
    assert mask.sum() == 32 * 15


def test_a_head_larger_than_those_of_training_is_segmented_whole(
    tmp_path: Path, module: BrightFlair
) -> None:
    module.spec = BrightFlair(size=(16, 16)).spec
    case = write_brats(tmp_path / "in", "a", oriented("RAS"))
    [path] = run(case, tmp_path / "out", threshold=0.0)  # any probability counts
    np.testing.assert_array_equal(nib.load(path).get_fdata() > 0, make_volumes()["T1"] > 0)


def test_many_cases_in_order_in_any_batch_size(tmp_path: Path, module: BrightFlair) -> None:
    for name in ("b", "a", "c"):
        write_brats(tmp_path / "in", name, oriented("RAS"))
    paths = run(tmp_path / "in", tmp_path / "out", batch_size=3)
    assert [path.name for path in paths] == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    for path in paths:
        np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), truth())


def test_decathlon_volume_gives_a_3d_mask(tmp_path: Path, module: BrightFlair) -> None:
    stack = np.stack([make_volumes()[name] for name in ("FLAIR", "T1")], axis=-1)
    (tmp_path / "in" / "imagesTs").mkdir(parents=True)
    nib.save(nib.Nifti1Image(stack, oriented("LAS")), tmp_path / "in" / "imagesTs" / "x.nii.gz")
    description = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "tumour"},
        "training": [],
        "test": ["./imagesTs/x.nii.gz"],
    }
    (tmp_path / "in" / "dataset.json").write_text(json.dumps(description))
    [path] = run(tmp_path / "in", tmp_path / "out")
    np.testing.assert_array_equal(np.asanyarray(nib.load(path).dataobj), truth())


def test_classes_get_labels_and_the_threshold_counts(
    tmp_path: Path, module: BrightFlair, capsys: pytest.CaptureFixture[str]
) -> None:
    module.spec = BrightFlair(classes={"whole": (1, 2), "core": (1,)}).spec
    case = write_brats(tmp_path / "in", "a", oriented("RAS"))
    [path] = run(case, tmp_path / "out")
    assert np.unique(np.asanyarray(nib.load(path).dataobj)[BLOCK]).tolist() == [1]
    assert "Mask labels: 0 background, 1 core, 2 whole\n" in capsys.readouterr().err
    [path] = run(case, tmp_path / "out", threshold=0.0)
    assert np.asanyarray(nib.load(path).dataobj)[2:-2, 2:-2, 2:-2].all(), "any probability counts"


def test_volumes_by_themselves_are_cases_of_one_modality(
    tmp_path: Path, module: BrightFlair
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("ann", "ben.v2"):
        nib.save(nib.Nifti1Image(make_volumes()["FLAIR"], np.eye(4)), folder / f"{name}.nii.gz")
    with pytest.raises(
        InputError, match=r"ann.nii.gz: .*checkpoint takes T1, FLAIR; list the files"
    ):
        run(folder / "ann.nii.gz", tmp_path / "out")
    module.spec = BrightFlair(modalities=("FLAIR",)).spec
    masks = run(folder, tmp_path / "out")
    assert [path.name for path in masks] == ["ann.nii.gz", "ben.v2.nii.gz"]
    assert all((nib.load(path).get_fdata() == truth()).all() for path in masks)
    [mask] = run(folder / "ann.nii.gz", tmp_path / "one")
    assert mask == tmp_path / "one" / "masks" / "ann.nii.gz"
    (folder / "ann.nii").write_bytes((folder / "ann.nii.gz").read_bytes())
    with pytest.raises(InputError, match=r"ann.nii.gz: has the name of ann.nii, and masks"):
        run(folder, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="follows no known layout"):
        run(tmp_path / "empty", tmp_path / "out")


def test_missing_modality_names_it_and_its_case(tmp_path: Path, module: BrightFlair) -> None:
    write_brats(tmp_path / "in", "good", oriented("RAS"))
    bad = write_brats(tmp_path / "in", "worse", oriented("RAS"))
    (bad / "worse_flair.nii.gz").unlink()
    with pytest.raises(InputError, match=r"worse has no FLAIR.*checkpoint takes T1, FLAIR"):
        run(tmp_path / "in", tmp_path / "out")
    assert files_in(tmp_path / "out" / "masks") == ["good.nii.gz"]
    with pytest.raises(InputError, match="worse has no FLAIR"):
        run(tmp_path / "in" / "worse", tmp_path / "none")


def test_unknown_modality_names_what_the_checkpoint_takes(
    tmp_path: Path, module: BrightFlair
) -> None:
    module.spec = BrightFlair(modalities=("PET", "FLAIR")).spec
    with pytest.raises(InputError, match=r"no modality PET.*checkpoint takes PET, FLAIR"):
        run(write_brats(tmp_path / "in", "a", oriented("RAS")), tmp_path / "out")


def test_bad_cases_stop_no_other_and_are_named_at_the_end(
    tmp_path: Path, module: BrightFlair, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c", "d"):
        write_brats(tmp_path / "in", name, oriented("RAS"))
    truncated = tmp_path / "in" / "b" / "b_t1.nii.gz"
    truncated.write_bytes(truncated.read_bytes()[:-200])
    (tmp_path / "in" / "c" / "c_flair.nii.gz").write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"c_flair\.nii\.gz.*\n.*b_t1\.nii\.gz") as caught:
        run(tmp_path / "in", tmp_path / "out")
    assert str(caught.value).count("\n") == 1
    said = f"{tmp_path}/out holds masks, pictures and cases.csv of 2 cases; 2 could not be used\n"
    assert said in capsys.readouterr().err
    assert files_in(tmp_path / "out" / "masks") == ["a.nii.gz", "d.nii.gz"]
    assert files_in(tmp_path / "out" / "pictures") == ["a.png", "d.png"]


@pytest.mark.parametrize(("pixel", "warned"), [((1.0, 1.0), False), ((0.5, 1.0), True)])
def test_pixels_of_another_size_are_announced(
    tmp_path: Path, module: BrightFlair, pixel: tuple[float, float], warned: bool
) -> None:
    for name in ("a", "b"):
        write_brats(tmp_path / "in", name, np.diag([1.0, 1.0, 3.0, 1.0]))
    module.spec = replace(module.spec, pixel=pixel)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run(tmp_path / "in", tmp_path / "out")
    messages = [str(each.message) for each in caught if "pixels are" in str(each.message)]
    assert len(messages) == warned
    assert all(
        "1 x 1 mm, and 1 more like it, but the checkpoint was trained on 0.5 x 1 mm" in each
        for each in messages
    )


def test_inputs_are_never_overwritten(tmp_path: Path, module: BrightFlair) -> None:
    (tmp_path / "masks").mkdir()
    images = {name: f"masks/{name}.nii.gz" for name in ("T1", "FLAIR")}
    for name, volume in make_volumes().items():
        nib.save(nib.Nifti1Image(volume, np.eye(4)), tmp_path / images[name])
    datalist = {"modalities": ["T1", "FLAIR"], "cases": [{"id": "T1", "images": images}]}
    (tmp_path / "list.json").write_text(json.dumps(datalist))
    with pytest.raises(InputError, match=r"would overwrite an input file \(image, mask or tags\)"):
        run(tmp_path / "list.json", tmp_path)
    assert [path.name for path in run(tmp_path / "list.json", tmp_path / "out")] == ["T1.nii.gz"]


def test_drawn_masks_are_never_overwritten(tmp_path: Path, module: BrightFlair) -> None:
    """In a data set they may have the names that predicted masks get, even another case's."""
    stack = np.stack([make_volumes()[name] for name in ("FLAIR", "T1")], axis=-1)
    names = ("x", "y")
    for name in names:
        for folder, volume in (("imagesTr", stack), ("masks", truth())):
            (tmp_path / folder).mkdir(exist_ok=True)
            image = nib.Nifti1Image(volume, oriented("LAS"))
            nib.save(image, tmp_path / folder / f"{name}.nii.gz")
    crossed = zip(names, reversed(names), strict=True)
    description = {
        "modality": {"0": "FLAIR", "1": "T1w"},
        "labels": {"0": "background", "1": "tumour"},
        "training": [
            {"image": f"imagesTr/{image}.nii.gz", "label": f"masks/{label}.nii.gz"}
            for image, label in crossed
        ],
    }
    (tmp_path / "dataset.json").write_text(json.dumps(description))
    before = (tmp_path / "masks" / "x.nii.gz").read_bytes()
    with pytest.raises(InputError, match=r"masks/x\.nii\.gz: would overwrite an input file"):
        run(tmp_path, tmp_path / "imagesTr" / "..")
    assert (tmp_path / "masks" / "x.nii.gz").read_bytes() == before
    assert [p.name for p in run(tmp_path, tmp_path / "out")] == ["x.nii.gz", "y.nii.gz"]


def test_command_line_with_a_real_checkpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    spec = BrightFlair(size=(32, 32)).spec
    trained = CamModule(spec.to_dict(), widths=(4, 8), embedding_widths=(4, 8))
    content = {"state_dict": trained.state_dict(), "hyper_parameters": dict(trained.hparams)}
    content |= {"class_path": "wsseg.models.CamModule", "pytorch-lightning_version": pl.__version__}
    torch.save(content, tmp_path / "last.ckpt")
    write_brats(tmp_path / "in", "a", oriented("LPS", 10))
    common = ["predict", "--ckpt_path", str(tmp_path / "last.ckpt"), "--output"]
    output = str(tmp_path / "out")
    assert main([*common, output, "--input", str(tmp_path / "in")]) == 0
    assert nib.load(tmp_path / "out" / "masks" / "a.nii.gz").shape == SHAPE
    assert main([*common, output, "--input", str(tmp_path / "nowhere")]) == 2
    assert "nowhere: does not exist" in capsys.readouterr().err


def test_real_images(tmp_path: Path, module: BrightFlair, shared_data: Path) -> None:
    module.spec = BrightFlair(size=(96, 80), spacing=2.0).spec
    case = shared_data / "brats2023-demo" / "BraTS-GLI-00001-000"
    [path] = run(case, tmp_path)
    source = next(case.glob("*t1n.nii.gz"))
    ours, theirs = (sitk.ReadImage(str(p)) for p in (path, source))
    for name in ("GetOrigin", "GetSpacing", "GetDirection", "GetSize"):
        assert getattr(ours, name)() == getattr(theirs, name)()
    mask = np.asanyarray(nib.load(path).dataobj).astype(bool)
    flair = nib.load(next(case.glob("*t2f.nii.gz"))).get_fdata()
    assert mask.any()
    assert flair[mask].mean() > 1.5 * flair[flair > 0].mean(), "the mask lies on what is bright"
