"""Graphs do what torch does, for slices of any number and size."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.export.conftest import CLASSES, SPEC
from wsseg.checkpoints.loading import load_module
from wsseg.data.normalisation import Scale
from wsseg.data.plan import Plan
from wsseg.data.readers import COLOURS
from wsseg.data.spec import DataSpec
from wsseg.export.graphs import compare, example, trace
from wsseg.export.network import build_network, predicting_part
from wsseg.models import CamModule, pretrained
from wsseg.models.pretrained import LEVEL_ENDS, LEVEL_WIDTHS
from wsseg.models.slice_module import SliceModule
from wsseg.segmentation.module import SegmentationModule

SIZE = 4, 64, 112  # none that the export itself looks at


@pytest.fixture
def expected(checkpoint: Path) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Slices, and what the checkpoint's module says of them."""
    module = load_module(checkpoint)
    inputs = example(module, *SIZE)
    with torch.no_grad():
        probability = module(*inputs)
    assert 0.1 < probability.mean() < 0.9
    return inputs, probability


def test_onnx_agrees_and_names_its_axes(
    exported: Path, expected: tuple[tuple[Tensor, Tensor], Tensor]
) -> None:
    import onnx
    import onnxruntime

    path = exported / "models/model.onnx"
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    shapes = {each.name: each.shape for each in (*session.get_inputs(), *session.get_outputs())}
    assert shapes == {
        "image": ["batch", 2, "height", "width"],
        "valid": ["batch", "height", "width"],
        "probability": ["batch", 2, "height", "width"],
    }
    described = json.loads(session.get_modelmeta().custom_metadata_map["wsseg"])
    assert described["modalities"] == ["T1", "FLAIR"]
    (image, valid), probability = expected
    (found,) = session.run(None, {"image": image.numpy(), "valid": valid.numpy()})
    torch.testing.assert_close(torch.from_numpy(found), probability, atol=1e-5, rtol=0)


def test_the_program_agrees(exported: Path, expected: tuple[tuple[Tensor, Tensor], Tensor]) -> None:
    program = torch.export.load(exported / "models/model.pt2").module()
    inputs, probability = expected
    torch.testing.assert_close(program(*inputs), probability, atol=1e-5, rtol=0)


def test_weights_belong_to_the_network_that_the_description_makes(
    exported: Path, expected: tuple[tuple[Tensor, Tensor], Tensor]
) -> None:
    from safetensors import safe_open
    from safetensors.torch import load_file

    path = exported / "models/model.safetensors"
    plain = torch.load(exported / "models/model.pt", weights_only=True)
    (image, valid), probability = expected
    slices = torch.cat((image, valid[:, None].float()), dim=1)
    for weights in (load_file(path), plain):
        network = build_network(exported / "models/model.json")
        network.load_state_dict(weights)
        with torch.no_grad():
            torch.testing.assert_close(network(slices), probability)
            volume = slices.movedim(0, -1)[None]  # all slices of a case
            assert torch.equal(network(volume)[0].movedim(-1, 0), network(slices))
    with safe_open(path, "pt") as file:
        told = file.metadata()
    assert told["wsseg"]
    assert json.loads(told["modalities"]) == list(SPEC.modalities)
    assert json.loads(told["classes"]) == {name: list(each) for name, each in CLASSES.items()}
    assert Plan.from_dict(json.loads(told["plan"])) == SPEC.plan


def second_stage() -> SliceModule:
    return SegmentationModule(SPEC.to_dict(), widths=(4, 8, 8))


def pictures() -> SliceModule:
    scales = (Scale(0.0, 255.0, 120.0, 40.0),) * 3
    plan = Plan("picture", "whole", "px", scales=scales, symmetric=False, comparable=False)
    return CamModule(DataSpec(COLOURS, {"lesion": (1,)}, "axial", None, (96, 96), plan).to_dict())


class SmallNetwork:
    """Has the parts and the resolutions of EfficientNet-Lite0, which takes a minute to trace."""

    def __init__(self) -> None:
        self._conv_stem = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self._bn0, self._swish = nn.BatchNorm2d(8), nn.ReLU6()
        blocks = [nn.Conv2d(8, LEVEL_WIDTHS[0], 1), *(nn.Identity() for _ in range(LEVEL_ENDS[-1]))]
        for end, (wide, wider) in zip(LEVEL_ENDS, pairwise(LEVEL_WIDTHS), strict=False):
            blocks[end + 1] = nn.Conv2d(wide, wider, 3, stride=2, padding=1)
        self._blocks = nn.ModuleList(blocks)


@pytest.mark.parametrize("make", [second_stage, pictures])
def test_every_network_is_traced_for_all_sizes(
    make: Callable[[], SliceModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "_trained_network", SmallNetwork)
    module = predicting_part(make())
    assert compare(module, trace(module).module(), "program") < 1e-5


def test_a_graph_that_differs_is_refused() -> None:
    module = predicting_part(second_stage())
    with pytest.raises(RuntimeError, match="program: differs from torch by"):
        compare(module, lambda image, valid: module(image, valid) + 0.01, "program")
