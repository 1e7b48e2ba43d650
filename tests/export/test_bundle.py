"""The bundle makes the masks of ``wsseg predict``, in MONAI and as MONAI Label calls it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, ConfigWorkflow
from monai.data import MetaTensor

from tests.export.conftest import SPEC
from wsseg.export.bundle import MOST_SEGMENTS, without_gaps
from wsseg.export.cases import case_of
from wsseg.prediction import predict
from wsseg.utils.errors import InputError

TENSOR = {"type", "format", "num_channels", "spatial_shape", "dtype", "value_range"}
REQUIRED = {"schema", "version", "monai_version", "pytorch_version", "numpy_version"}
REQUIRED |= {"required_packages_version", "task", "description", "authors", "copyright"}


def masks_in(folder: Path) -> dict[str, bytes]:
    """The files of all masks below a folder."""
    files = (path for path in (folder / "masks").rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in files}


def test_monai_makes_the_same_masks(
    exported: Path, checkpoint: Path, cases: Path, tmp_path: Path
) -> None:
    predict(ckpt_path=checkpoint, input=cases, output=tmp_path / "ours", device="cpu")
    given = ["--dataset_dir", str(cases), "--output_dir", str(tmp_path / "theirs")]
    command = ["run", "--config_file", "configs/inference.json", "--device", "cpu", *given]
    subprocess.run(
        [sys.executable, "-m", "monai.bundle", *command],
        check=True,
        cwd=exported,
        capture_output=True,
    )
    ours, theirs = masks_in(tmp_path / "ours"), masks_in(tmp_path / "theirs")
    assert sorted(ours) == ["ann.nii.gz", "ben.nii.gz"]
    assert ours == theirs
    labels = np.asarray(nib.load(tmp_path / "theirs/masks/ann.nii.gz").dataobj)
    assert {1, 2} <= set(np.unique(labels).tolist())
    assert (tmp_path / "theirs/labels.ctbl").is_file()  # names and colours for 3D Slicer


class Server:
    """What MONAI Label does with a bundle for a request (`BundleInferTask`, `BasicInferTask`)."""

    def __init__(self, bundle: Path) -> None:
        self.config = ConfigParser()
        self.config.read_config(bundle / "configs/inference.json")
        self.config.config["bundle_root"] = str(bundle)
        self.network = self.config.get_parsed_content("network_def", instantiate=True)
        self.network.load_state_dict(torch.load(bundle / "models/model.pt"), strict=False)
        self.options = self.config.get_parsed_content("displayable_configs", instantiate=True)

    def infer(self, image: Path, **options: Any) -> dict[str, Any]:
        self.config["displayable_configs"].update({**self.options, **options})
        self.config.parse()
        self.config.config["device"] = "cpu"
        data: Any = {"image": str(image), "device": "cpu"}
        for transform in self.config.get_parsed_content("preprocessing").transforms:
            data = transform(data)
        inferer = self.config.get_parsed_content("inferer")
        with torch.no_grad():
            data["pred"] = inferer(data["image"][None], self.network.eval())[0]
        for transform in self.config.get_parsed_content("postprocessing").transforms[:-1]:
            data = transform(data)
        return dict(data)


def test_a_server_that_hands_out_one_file_gets_the_same_mask(
    exported: Path, checkpoint: Path, cases: Path, tmp_path: Path
) -> None:
    (path,) = predict(
        ckpt_path=checkpoint, input=cases / "ben", output=tmp_path / "ours", device="cpu"
    )
    expected = nib.load(path)
    image = cases / "ben/ben_flair.nii.gz"
    server = Server(exported)
    data = server.infer(image)
    mask = data["pred"]
    assert isinstance(mask, MetaTensor)
    np.testing.assert_array_equal(mask[0].numpy(), np.asarray(expected.dataobj))
    np.testing.assert_array_equal(mask.affine, expected.affine)
    # By these MONAI Label puts the mask back on the image.
    np.testing.assert_array_equal(data["image"].meta["original_affine"], expected.affine)
    assert tuple(data["image"].meta["spatial_shape"]) == expected.shape
    assert not server.infer(image, threshold="0.9999")["pred"].any()  # a field of text


def test_names_that_programs_look_for(exported: Path) -> None:
    workflow = ConfigWorkflow(exported / "configs/inference.json", workflow_type="infer")
    workflow.parser["bundle_root"] = str(exported)
    workflow.initialize()
    with pytest.warns(UserWarning, match="does not exist; give --dataset_dir"):
        assert workflow.check_properties() == []
    content = json.loads((exported / "configs/metadata.json").read_text())
    assert set(content) >= REQUIRED
    formats = content["network_data_format"]
    for part in ("inputs", "outputs", "post_processed_outputs"):
        assert all(set(tensor) >= TENSOR for tensor in formats[part].values())
    labels = formats["outputs"]["pred"]["channel_def"]  # which MONAI Label shows
    assert labels == {"0": "background", "1": "core", "2": "whole"}
    assert len(formats["inputs"]["image"]["spatial_shape"]) == 3
    assert formats["inputs"]["image"]["num_channels"] == 3


def test_the_nth_name_is_that_of_label_n() -> None:
    names = {"0": "background", "1": "core", "2": "whole", "4": "enhancing"}
    filled = without_gaps(names)
    assert list(filled) == [str(n) for n in range(5)]  # in the order in which Slicer counts
    assert filled == {**names, "3": "unused 3"}
    high = {"0": "background", str(MOST_SEGMENTS + 1): "lesion"}
    assert without_gaps(high) == high


def test_an_image_is_found_with_its_other_modalities(cases: Path, tmp_path: Path) -> None:
    flair, t1 = (cases / f"ann/ann_{name}.nii.gz" for name in ("flair", "t1"))
    case = case_of(flair, SPEC)
    assert [case.images[name].path for name in SPEC.modalities] == [t1, flair]
    assert case_of(case, SPEC) is case
    alone = tmp_path / "images" / "f.nii.gz"
    alone.parent.mkdir()
    alone.symlink_to(flair)
    assert case_of(alone.resolve(), SPEC) == case  # as MONAI Label resolves links
    table = tmp_path / "cases.csv"
    table.write_text(f"case,image:T1,image:FLAIR\nann,{t1},{alone}\n")
    with pytest.raises(InputError, match="takes T1, FLAIR"):
        case_of(alone, SPEC)
    assert case_of(alone, SPEC, elsewhere=table).images["T1"].path == t1
    with pytest.raises(InputError, match="comes with 1 files, but the model takes T1, FLAIR"):
        case_of([str(flair)], SPEC)
