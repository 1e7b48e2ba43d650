"""The network as a graph for other programs, ``torch.export`` and ONNX, compared with torch."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from wsseg.data.anatomy import SIZE_MULTIPLE
from wsseg.export.description import INPUTS, LEAST_SIDE, OUTPUT
from wsseg.models.slice_module import SliceModule

Predict = Callable[[Tensor, Tensor], Tensor]

LARGEST_DIFFERENCE = 1e-4  # of probabilities, between torch and a graph
# Batch, height and width that graphs are compared at; none is that of the example which is traced.
COMPARED = ((1, LEAST_SIDE, 7 * SIZE_MULTIPLE), (3, 9 * SIZE_MULTIPLE, 6 * SIZE_MULTIPLE))
TRACED = (2, 5 * SIZE_MULTIPLE, 4 * SIZE_MULTIPLE)
CHATTY_LOGGERS = ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")


def trace(module: SliceModule) -> ExportedProgram:
    """Trace a module for slices of any number and size.

    Args:
        module: The module in evaluation mode, on the CPU; the memory of its weights is rearranged.

    Returns:
        A program ``(image, valid) -> probability``. Height and width must be multiples of 16, and
        at least ``LEAST_SIDE``.
    """
    module.to(memory_format=torch.contiguous_format)  # torch.export.save expects such weights
    batch, least = Dim("batch", min=1), LEAST_SIDE // SIZE_MULTIPLE
    height, width = (SIZE_MULTIPLE * Dim(name, min=least) for name in ("rows", "columns"))
    shapes = ({0: batch, 2: height, 3: width}, {0: batch, 1: height, 2: width})
    with torch.no_grad():
        program = torch.export.export(module, example(module, *TRACED), dynamic_shapes=shapes)
    program.graph.eliminate_dead_code()  # what only tags need
    program.graph_module.recompile()
    return program


def save_program(program: ExportedProgram, description: dict[str, Any], path: Path) -> Predict:
    """Write a traced module for ``torch.export.load``.

    Args:
        program: The module, traced.
        description: What a user must know; it is stored in the file as ``model.json``.
        path: File to write, ending in ``.pt2``.

    Returns:
        What was read back from the file, ready for use.
    """
    torch.export.save(program, path, extra_files={"model.json": json.dumps(description)})
    read: Predict = torch.export.load(path).module()
    return read


def save_onnx(program: ExportedProgram, description: dict[str, Any], path: Path) -> Predict:
    """Write a traced module as ONNX.

    Args:
        program: The module, traced.
        description: What a user must know; it is stored as the file's metadata ``wsseg``.
        path: File to write, ending in ``.onnx``.

    Returns:
        What was read back from the file by onnxruntime, ready for use.
    """
    import onnx_ir
    import onnxruntime

    with _quietly():
        found = torch.onnx.export(
            program, input_names=list(INPUTS), output_names=[OUTPUT], dynamo=True, verbose=False
        )
    assert found is not None
    axes = ("height", "width")
    shapes: dict[str, list[int | str]] = {
        "image": ["batch", len(description["modalities"]), *axes],
        "valid": ["batch", *axes],
        OUTPUT: ["batch", len(description["classes"]), *axes],
    }
    for value in (*found.model.graph.inputs, *found.model.graph.outputs):
        value.shape = onnx_ir.Shape(shapes[str(value.name)])
    found.model.metadata_props["wsseg"] = json.dumps(description)
    found.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])

    def run(image: Tensor, valid: Tensor) -> Tensor:
        fed = dict(zip(INPUTS, (image.numpy(), valid.numpy()), strict=True))
        return torch.from_numpy(session.run([OUTPUT], fed)[0])

    return run


@torch.no_grad()
def compare(module: SliceModule, graph: Predict, what: str) -> float:
    """Compare what a graph returns with what the module does, at several sizes.

    Args:
        module: The module in evaluation mode, on the CPU.
        graph: The graph.
        what: Name of the graph, for the message.

    Returns:
        The largest difference of a probability.

    Raises:
        RuntimeError: They differ.
    """
    own = (1, *(max(side, LEAST_SIDE) for side in module.spec.size))
    largest = 0.0
    for size in (*COMPARED, own):
        inputs = example(module, *size)
        largest = max(largest, float((graph(*inputs) - module(*inputs)).abs().max()))
    if not largest <= LARGEST_DIFFERENCE:
        raise RuntimeError(f"{what}: differs from torch by {largest:.2g}")
    return largest


def example(module: SliceModule, batch: int, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return slices of noise with a body of noisy outline, and where the body is.

    Args:
        module: The module that is to see them.
        batch: Their number.
        height: Of each.
        width: Of each.

    Returns:
        [B, M, H, W] and [B, H, W].
    """
    generator = torch.Generator().manual_seed(height)
    shape = (batch, len(module.spec.modalities), height, width)
    valid = torch.rand(batch, height, width, generator=generator) > 0.2
    return torch.randn(shape, generator=generator) * valid[:, None], valid


@contextmanager
def _quietly() -> Iterator[None]:
    """Hide what the exporter logs of packages that it does not need and of its own steps."""
    loggers = [logging.getLogger(name) for name in CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
