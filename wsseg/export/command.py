"""``wsseg export``: a trained model for other programs."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.checkpoints.loading import load_module
from wsseg.export import files
from wsseg.export.bundle import inference_config, metadata, write_json
from wsseg.export.description import describe
from wsseg.export.graphs import compare, save_onnx, save_program, trace
from wsseg.export.guide import guide
from wsseg.export.network import SlicesNetwork
from wsseg.export.weights import save_safe_weights, save_weights
from wsseg.utils.errors import InputError

PACKAGES = ("onnx", "onnxruntime", "onnxscript", "safetensors")  # of the extra `export`


def export(checkpoint: Path, out: Path) -> Path:
    """Write a trained model as MONAI bundle, ONNX, `torch.export` program and safetensors.

    The folder is a MONAI bundle: `python -m monai.bundle run` predicts with it, and MONAI Label
    serves it to 3D Slicer. Its masks are those of `wsseg predict`. Below `models` the network
    is also there as ONNX and for `torch.export`, for slices of any number and size; both are
    compared with torch before anything is written. An earlier export in the folder is replaced.

    Args:
        checkpoint: Checkpoint that `wsseg fit` wrote, or the folder of its run.
        out: Folder to write to; the model is named after it.

    Returns:
        The folder.

    Raises:
        InputError: The checkpoint cannot be used or exported, the folder holds something else, or
            a package is missing.
    """
    checkpoint, out = Path(checkpoint), Path(out)
    check_packages()
    files.check_output(out)
    if checkpoint.is_dir():
        checkpoint = checkpoint / LAST_CHECKPOINT
    module = load_module(checkpoint)
    try:
        network = SlicesNetwork(module)
    except InputError as error:
        raise InputError(f"{checkpoint}: {error}") from None
    with files.all_or_nothing(out) as part:
        differences = write_model(network, out.resolve().name, part)
    print(f"{out}: a MONAI bundle; {files.GUIDE} says how to use it")
    for name, difference in differences.items():
        print(f"{out / name}: differs from torch by at most {difference:.1e}")
    return out


def write_model(network: SlicesNetwork, name: str, folder: Path) -> dict[str, float]:
    """Write all files of a model.

    Args:
        network: The network, on the CPU.
        name: Name of the model.
        folder: Where to; it exists.

    Returns:
        Of each graph the largest difference of a probability from torch's.

    Raises:
        RuntimeError: A graph does not do what the module does.
    """
    module = network.module
    description = describe(module)
    write_json(description, folder / files.DESCRIPTION)
    write_json(metadata(module, name), folder / files.METADATA)
    write_json(inference_config(module), folder / files.INFERENCE)
    (folder / files.GUIDE).parent.mkdir()
    (folder / files.GUIDE).write_text(guide(module, name), encoding="utf-8")
    save_weights(network, folder / files.WEIGHTS)
    save_safe_weights(network, description, folder / files.SAFE_WEIGHTS)
    program = trace(module)
    graphs = {
        files.PROGRAM: save_program(program, description, folder / files.PROGRAM),
        files.ONNX: save_onnx(program, description, folder / files.ONNX),
    }
    return {file: compare(module, graph, file) for file, graph in graphs.items()}


def check_packages() -> None:
    """Refuse to export where a package for it is not installed.

    Raises:
        InputError: A package is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise InputError(
            f"wsseg export: needs the package{'s' * (len(missing) > 1)} {', '.join(missing)}; "
            'pip install "wsseg[export]"'
        )
