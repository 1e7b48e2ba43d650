"""Finds a checkpoint, reads it, and makes the trained module from it."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from wsseg.checkpoints import LAST_CHECKPOINT
from wsseg.data.plan import Plan
from wsseg.data.store_checks import is_spec
from wsseg.models.slice_module import CLASS_PATH, SliceModule
from wsseg.utils.errors import InputError

SHARDS = ("meta.pt", ".metadata", "latest")  # of which a folder of FSDP or DeepSpeed holds one


def load_module(ckpt_path: Path | str) -> SliceModule:
    """Load a trained wsseg module, ready for prediction.

    Only weights and plain values are unpickled, and only modules of wsseg are made from them, so
    that a checkpoint from an unknown source cannot run code.

    Args:
        ckpt_path: Checkpoint that ``wsseg fit`` wrote.

    Returns:
        The module on the CPU in evaluation mode. It has ``spec``, ``threshold`` and
        ``forward(image, valid) -> [B, C, H, W]``.

    Raises:
        InputError: The file is missing, is not a checkpoint, or belongs to another program.

    Example:
        >>> load_module("RUN/last.ckpt")
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: RUN/last.ckpt: does not exist; give ...
    """
    ckpt_path = Path(ckpt_path)
    content = read_checkpoint(ckpt_path)
    if "spec" not in content.get("hyper_parameters", {}):
        raise InputError(
            f"{ckpt_path}: does not say how its data was prepared; "
            "give a checkpoint that `wsseg fit` wrote"
        )
    if CLASS_PATH not in content:
        raise InputError(
            f"{ckpt_path}: does not say of which class its module is; train again if an earlier "
            "wsseg wrote it, or let its module's on_save_checkpoint call super()"
        )
    if "_instantiator" in content["hyper_parameters"]:  # Lightning would import what it names
        raise InputError(
            f"{ckpt_path}: names a function that makes its module, which `wsseg fit` never writes; "
            "give a checkpoint that it wrote"
        )
    if "finishing" not in content["hyper_parameters"]:
        raise InputError(
            f"{ckpt_path}: was written by an earlier version of wsseg, whose options had other "
            "names; use that version, or train again"
        )
    kind = module_class(content[CLASS_PATH], ckpt_path)
    try:
        module = kind.load_from_checkpoint(ckpt_path, map_location="cpu", weights_only=True)
    except InputError as error:
        raise InputError(f"{ckpt_path}: {error}") from error
    except Exception as error:  # settings of any kind, given to a class that expects others
        reason = " ".join(" ".join(str(error).splitlines()[:2]).split())
        raise InputError(
            f"{ckpt_path}: does not fit this version of wsseg ({reason}); train again or, if it "
            "uses your own encoder, predict from a script that registers it"
        ) from error
    state = module.state_dict()
    other = [
        name
        for name, value in content["state_dict"].items()
        if isinstance(value, Tensor)
        and value.is_floating_point() != state[name].is_floating_point()
    ]
    if other:
        raise InputError(
            f"{ckpt_path}: holds whole numbers as weights (`{other[0]}`), which would predict "
            "nonsense; copy the file again, or train again"
        )
    return module.eval()


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; its tensors stay on disk, memory-mapped.

    Args:
        path: The file.

    Returns:
        Lightning's dictionary: ``state_dict``, ``hyper_parameters``, ``callbacks``, ...

    Raises:
        InputError: The file does not exist, is not a checkpoint, is damaged, or holds weights that
            are not finite.
    """
    if path.is_dir():
        raise InputError(
            f"{path}: is a folder; give the checkpoint in it ({path / LAST_CHECKPOINT})"
        )
    if not path.is_file():
        raise InputError(
            f"{path}: does not exist; give the path of a checkpoint (RUN/{LAST_CHECKPOINT})"
        )
    if damaged := damaged_part(path):
        raise InputError(
            f"{path}: is damaged ({damaged} has another checksum than when it was written); copy "
            "the file again, or train again"
        )
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # damaged pickles lead to errors of many kinds
        content = {}
    known = isinstance(content, dict) and _is_state(content.get("state_dict"))
    settings = content.get("hyper_parameters", {}) if known else None
    if not isinstance(settings, dict):
        raise InputError(f"{path}: is not a checkpoint; give a file that `wsseg fit` wrote")
    if "spec" in settings and not _is_spec(settings["spec"]):
        raise InputError(
            f"{path}: does not say in a usable way how its data was prepared (`spec`); copy the "
            "file again, or train again"
        )
    tensors = [value for value in content["state_dict"].values() if isinstance(value, Tensor)]
    if not all(bool(tensor.isfinite().all()) for tensor in tensors):
        raise InputError(
            f"{path}: holds weights that are NaN or infinite, which would predict nonsense; train "
            "again, with a lower --model.optimisation.lr or in float32"
        )
    return content


def _is_spec(spec: Any) -> bool:
    """Tell whether a data specification can be used; earlier ones have no plan."""
    return isinstance(spec, dict) and is_spec({"plan": Plan().to_dict(), **spec})


def _is_state(state: Any) -> bool:
    """Tell whether something holds the weights of a network."""
    return isinstance(state, dict) and all(
        not value.is_complex() if isinstance(value, Tensor) else str(name).endswith("_extra_state")
        for name, value in state.items()
    )


def damaged_part(path: Path) -> str | None:
    """Return the name of a part of a checkpoint whose checksum is wrong, or None.

    Checkpoints are zip archives, but torch does not compare their checksums: a single changed bit
    becomes a wrong weight without a word. What is no archive is left to torch.

    Args:
        path: The file.
    """
    with path.open("rb") as file:
        try:
            return zipfile.ZipFile(file).testzip()
        except Exception:  # damaged archives lead to errors of many kinds
            return None


def find_checkpoint(given: str | None, root: str, *, training: bool) -> str | None:
    """Return the path of the checkpoint that ``--ckpt_path`` names.

    Lightning resolves ``last`` only when training starts, too late to compare the checkpoint with
    settings and data, or to continue the log from its step.

    Args:
        given: ``--ckpt_path``.
        root: The run's folder.
        training: Whether the run trains; it then starts from the beginning if there is no ``last``.

    Raises:
        InputError: ``best``, which is not recorded in the folder; or a web address, since
            Lightning caches downloads by file name alone and may load another model.

    Example:
        >>> find_checkpoint("last", "RUN", training=False)
        'RUN/last.ckpt'
    """
    last = Path(root) / LAST_CHECKPOINT
    if given == "last":
        if last.is_file() or not training:
            return str(last)
        rank_zero_warn(f"{last}: does not exist, so training starts from the beginning")
        return None
    if given == "best":
        raise InputError(
            "--ckpt_path best: is known only to the process that trained; give the path of the "
            "checkpoint"
        )
    if given and given.lower().startswith(("http:", "https:")):
        raise InputError(
            f"--ckpt_path {given}: is a web address; download the file and give its path"
        )
    if given and Path(given).is_dir() and not any((Path(given) / name).exists() for name in SHARDS):
        raise InputError(
            f"--ckpt_path {given}: is a folder; give {Path(given, LAST_CHECKPOINT)} or another file"
        )
    return given


def only_lightning_reads(given: str) -> bool:
    """Return whether a checkpoint is an address, a name or a folder of shards, not a local file.

    Args:
        given: ``--ckpt_path``.

    Example:
        >>> only_lightning_reads("s3://bucket/last.ckpt"), only_lightning_reads("RUN/last.ckpt")
        (True, False)
    """
    return given == "hpc" or given.startswith("registry") or ":/" in given or Path(given).is_dir()


def module_class(name: str, path: Path) -> type[SliceModule]:
    """Return the class of a module of wsseg.

    Args:
        name: Its path, such as ``wsseg.models.cam_module.CamModule``.
        path: The file that names it, for the message.

    Raises:
        InputError: It is no module of wsseg, or none that this version has.
    """
    package, _, class_name = str(name).rpartition(".")
    if package.split(".")[0] != "wsseg":
        raise InputError(
            f"{path}: holds a {name}, a class of your own; load it from Python with "
            f"{class_name}.load_from_checkpoint(path, weights_only=True), or write it as a "
            "comparator inside wsseg"
        )
    try:
        kind = getattr(importlib.import_module(package), class_name, None)
    except ModuleNotFoundError:
        kind = None
    if not (isinstance(kind, type) and issubclass(kind, SliceModule)):
        raise InputError(
            f"{path}: holds a {name}, which this version of wsseg lacks; use the version that "
            "wrote it"
        )
    return kind
