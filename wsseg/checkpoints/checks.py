"""Checks whether a checkpoint fits the data and the settings that it is to be used with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pytorch_lightning import LightningModule
from pytorch_lightning.utilities import rank_zero_warn

from wsseg.checkpoints import CONFIG_FILE, LAST_CHECKPOINT
from wsseg.data.datamodule import MRISliceDataModule, trained_on
from wsseg.data.spec import DataSpec, format_pixel
from wsseg.utils.errors import InputError

MEANING = ("axis", "spacing", "normalisation")  # of a slice: weights depend on them


def check_run(
    path: str,
    content: dict[str, Any],
    module: LightningModule,
    data: MRISliceDataModule,
    splits: Sequence[str],
    *,
    training: bool,
) -> None:
    """Compare a checkpoint with the data and the module of a run that is to use it.

    Args:
        path: Where the checkpoint is.
        content: The checkpoint.
        module: The module as the settings of this run make it.
        data: The data of this run.
        splits: Which of its splits are held out.
        training: Whether to train.

    Raises:
        InputError: The checkpoint belongs to other data or to another module.
    """
    if saved := content.get("hyper_parameters", {}).get("spec", {}):
        check_data(path, saved, data.spec.to_dict())
    check_cases(path, content, data, splits, training=training)
    check_model(path, content, module, training=training)


def check_data(path: str, saved: dict[str, Any], spec: dict[str, Any]) -> None:
    """Compare the data of a checkpoint with that of this run.

    Args:
        path: Where the checkpoint is.
        saved: Its data specification.
        spec: That of the store.

    Raises:
        InputError: Modalities or classes are others.
    """
    for name in ("modalities", "classes"):
        there, here = (", ".join(each.get(name, ())) for each in (saved, spec))
        if there != here:
            raise InputError(
                f"{path}: was trained on the {name} {there}, but the store has {here}; give "
                f"another checkpoint, or prepare the store with the same {name}"
            )
    for name in MEANING:
        if saved.get(name) != spec.get(name):
            rank_zero_warn(
                f"the store has {name} {spec.get(name)}, but {path} was trained with "
                f"{saved.get(name)}; expect worse results, or prepare the store with the same"
            )
    pixel = DataSpec.from_dict(spec).pixel
    if pixel and DataSpec.from_dict(saved).ignores_pixel_size(pixel):
        rank_zero_warn(
            f"pixels of the store are {format_pixel(pixel)}, but {path} was trained on "
            f"{format_pixel(saved['pixel'])}, and treats them all alike; prepare both with one "
            "--spacing"
        )


def check_cases(
    path: str,
    content: dict[str, Any],
    data: MRISliceDataModule,
    splits: Sequence[str] = ("val", "test"),
    *,
    training: bool = True,
) -> None:
    """Look for held-out cases that a checkpoint was trained on, as one of another fold may be.

    Args:
        path: Where the checkpoint is.
        content: The checkpoint.
        data: The data of this run.
        splits: Which of its splits are held out.
        training: Whether to train; scores of such cases are computed, but with a warning.

    Raises:
        InputError: It is to be trained on, or learnt from.
    """
    found = trained_on(content, [case for split in splits for case in data.splits[split]])
    if found:
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        problem = (
            f"{path}: was trained on case {found[0]}{more}, which fold {data.fold} of "
            f"{data.store.root} holds out"
        )
        if training:
            raise InputError(f"{problem}; give a checkpoint of this fold, or the fold of that one")
        rank_zero_warn(f"{problem}, so the scores say nothing about new patients")


def check_scores_folder(root: Path, checkpoint: str, store: str, fold: int) -> None:
    """Refuse to put other scores where those of a run on its own held-out cases belong.

    Args:
        root: Where scores go.
        checkpoint: What to score.
        store: The store to score.
        fold: Its fold.

    Raises:
        InputError: The folder holds another run, or a run on another store that is still there, or
            another fold.
    """
    whole = Path(checkpoint).absolute()  # a link to a larger disk belongs to the run, too
    own = any(each.is_relative_to(root.resolve()) for each in (whole, whole.resolve()))
    if (root / LAST_CHECKPOINT).is_file() and Path(checkpoint).is_file() and not own:
        raise InputError(
            f"{root}: holds another run than {checkpoint}, and its scores would be overwritten; "
            "add --trainer.default_root_dir OTHER"
        )
    path = root / CONFIG_FILE
    config = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    data = config.get("data", {})
    place, trained = Path(data.get("root", store)), data.get("fold", fold)
    if trained == fold and (place.resolve() == Path(store).resolve() or not place.exists()):
        return
    leaked = "" if trained == fold else " (its cases may have been trained on)"
    raise InputError(
        f"{root}: holds a run on {place}, fold {trained}; scores of {store}, fold {fold}, would "
        f"be taken for its own; add --trainer.default_root_dir OTHER{leaked}"
    )


def check_model(
    path: str, content: dict[str, Any], module: LightningModule, *, training: bool
) -> None:
    """Compare a checkpoint with the module that is to take its place in a run.

    Settings that differ are announced: Lightning alone would quietly keep the checkpoint's.

    Args:
        path: Where the checkpoint is.
        content: The checkpoint.
        module: The module as the settings of this run make it.
        training: Whether the optimiser continues too.

    Raises:
        InputError: The module's weights have other names or shapes.
    """
    saved, own = (_flat(each) for each in (content.get("hyper_parameters", {}), module.hparams))
    differing = [
        f"model.{name} is {value} here but {saved[name]} in {path}"
        for name, value in own.items()
        if name in saved and value != saved[name]
    ]
    if _shapes(content["state_dict"]) != _shapes(module.state_dict()) and not _adapts(module):
        reason = ", ".join(differing) or f"{type(module).__name__} is another network"
        raise InputError(
            f"{path}: does not fit these settings ({reason}); give the config.yaml of its run"
        )
    for each in differing:
        rank_zero_warn(
            f"{each}; optimiser and schedule continue with the checkpoint's" if training else each
        )


def _adapts(module: LightningModule) -> bool:
    """Tell whether a module loads other weights than its own in a way that it defines."""
    own = type(module)
    changes = own.on_load_checkpoint is not LightningModule.on_load_checkpoint
    return changes or own.load_state_dict is not LightningModule.load_state_dict


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _flat(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by the names of their options, without the data specification."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": each for inner, each in value.items() if name != "spec"}
        else:
            found[name] = list(value) if isinstance(value, list | tuple) else value
    return found
