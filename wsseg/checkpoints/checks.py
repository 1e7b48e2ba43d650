"""Checks that a checkpoint fits the data and the settings of the run that uses it."""

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
from wsseg.utils.documents import flat
from wsseg.utils.errors import InputError

PREPARATION = ("axis", "spacing")  # settings of the store that weights depend on
PLANNED = ("normalisation", "body", "longest_side", "scales")  # entries of its plan that they do on


def check_run(
    path: str,
    content: dict[str, Any],
    module: LightningModule,
    data: MRISliceDataModule,
    splits: Sequence[str],
    *,
    training: bool,
) -> None:
    """Compare a checkpoint with the data and the module of the run that uses it.

    Args:
        path: Path of the checkpoint.
        content: Content of the checkpoint.
        module: The module, made from the settings of this run.
        data: The data of this run.
        splits: Names of the splits that must not have been trained on.
        training: Whether the run trains.

    Raises:
        InputError: The checkpoint belongs to other data or to another module, or holds too little
            to resume from.
    """
    if training:
        check_training_state(path, content)
    if saved := content.get("hyper_parameters", {}).get("spec", {}):
        check_data(path, saved, data.spec.to_dict())
    check_cases(path, content, data, splits, training=training)
    check_model(path, content, module, training=training)


def check_training_state(path: str, content: dict[str, Any]) -> None:
    """Refuse to resume from a checkpoint that lacks what Lightning would resume from.

    Lightning starts anew, without a word, what it does not find.

    Args:
        path: Path of the checkpoint.
        content: Content of the checkpoint.

    Raises:
        InputError: The state of the optimiser, a schedule, a loop or a callback is missing or is
            nothing that Lightning saves.

    Example:
        >>> check_training_state("old.ckpt", {"state_dict": {}})
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: old.ckpt: holds weights only, so training cannot resume...
    """
    kinds: dict[str, type] = dict.fromkeys(("optimizer_states", "lr_schedulers"), list)
    kinds |= dict.fromkeys(("loops", "callbacks"), dict)
    kinds |= dict.fromkeys(("epoch", "global_step"), int)
    bad = [name for name, kind in kinds.items() if type(content.get(name)) is not kind]
    if not bad and not all(isinstance(state, dict) for state in content["optimizer_states"]):
        bad = ["optimizer_states"]
    if bad or not content["optimizer_states"] or "fit_loop" not in content["loops"]:
        missing = [*bad, "loops" if content.get("optimizer_states") else "optimizer_states"][0]
        weights_only = "optimizer_states" not in content
        problem = "weights only" if weights_only else f"no usable `{missing}`"
        raise InputError(
            f"{path}: holds {problem}, so training cannot resume from it; give a checkpoint that "
            "was saved with the state of the training, such as last.ckpt"
        )


def check_data(path: str, saved: dict[str, Any], spec: dict[str, Any]) -> None:
    """Compare the data that a checkpoint was trained on with the store of this run.

    Args:
        path: Path of the checkpoint.
        saved: Data specification in the checkpoint.
        spec: Data specification of the store.

    Raises:
        InputError: Modalities or classes differ.
    """
    for name in ("modalities", "classes"):
        trained, given = (", ".join(part.get(name, ())) for part in (saved, spec))
        if trained != given:
            raise InputError(
                f"{path}: was trained on the {name} {trained}, but the store has {given}; give "
                f"another checkpoint, or prepare the store with the same {name}"
            )
    both = [_preparation(part) for part in (saved, spec)]
    for name, trained, given in zip(both[0], both[0].values(), both[1].values(), strict=True):
        if trained != given:
            rank_zero_warn(
                f"the store has {name} {given}, but {path} was trained with {trained}; expect "
                "worse results, or prepare the store with the latter"
            )
    pixel = DataSpec.from_dict(spec).pixel
    if pixel and DataSpec.from_dict(saved).ignores_pixel_size(pixel):
        rank_zero_warn(
            f"pixels of the store are {format_pixel(pixel)}, but {path} was trained on "
            f"{format_pixel(saved['pixel'])}, and ignores their size; prepare both with the "
            "same --spacing"
        )


def check_cases(
    path: str,
    content: dict[str, Any],
    data: MRISliceDataModule,
    splits: Sequence[str] = ("val", "test"),
    *,
    training: bool = True,
) -> None:
    """Refuse to continue a checkpoint of another fold, which was trained on held-out cases.

    Args:
        path: Path of the checkpoint.
        content: Content of the checkpoint.
        data: The data of this run.
        splits: Names of the splits that must not have been trained on.
        training: Whether the run trains; otherwise there is only a warning.

    Raises:
        InputError: The run trains, and the checkpoint has been trained on a held-out case.
    """
    leaked = trained_on(content, [case for split in splits for case in data.splits[split]])
    if leaked:
        more = f" and {len(leaked) - 1} more" if len(leaked) > 1 else ""
        problem = (
            f"{path}: was trained on case {leaked[0]}{more}, which fold {data.fold} of "
            f"{data.store.root} holds out"
        )
        if training:
            raise InputError(f"{problem}; give a checkpoint of this fold, or choose its fold")
        rank_zero_warn(f"{problem}, so the scores say nothing about new patients")


def check_scores_folder(root: Path, checkpoint: str, store: str, fold: int) -> None:
    """Refuse to write scores into the folder of another run, or of a run on other cases.

    Args:
        root: Folder for the scores.
        checkpoint: Path of the checkpoint to score.
        store: Store whose cases are scored.
        fold: Fold of the store.

    Raises:
        InputError: The folder holds another run, or one on another fold, or one on another store
            that still exists.
    """
    path = Path(checkpoint).absolute()  # a link in the folder to another disk belongs to the run
    inside = any(place.is_relative_to(root.resolve()) for place in (path, path.resolve()))
    if (root / LAST_CHECKPOINT).is_file() and path.is_file() and not inside:
        raise InputError(
            f"{root}: holds another run than {checkpoint}, and its scores would be overwritten; "
            "add --trainer.default_root_dir OTHER"
        )
    file = root / CONFIG_FILE
    config = yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}
    data = config.get("data", {})
    run_store, run_fold = Path(data.get("root", store)), data.get("fold", fold)
    same_store = run_store.resolve() == Path(store).resolve() or not run_store.exists()
    if run_fold == fold and same_store:
        return
    leak = "" if run_fold == fold else " (cases of another fold may have been trained on)"
    raise InputError(
        f"{root}: holds a run on {run_store}, fold {run_fold}; scores of {store}, fold {fold}, "
        f"would be taken for its own; add --trainer.default_root_dir OTHER{leak}"
    )


def check_model(
    path: str, content: dict[str, Any], module: LightningModule, *, training: bool
) -> None:
    """Compare a checkpoint with the module that loads it.

    Settings that differ are reported, since Lightning silently keeps some of the checkpoint's.

    Args:
        path: Path of the checkpoint.
        content: Content of the checkpoint.
        module: The module, made from the settings of this run.
        training: Whether the run trains, so that the optimiser continues.

    Raises:
        InputError: The module's weights have other names or shapes.
    """
    saved, given = map(_settings, (content.get("hyper_parameters", {}), module.hparams))
    differing = [
        f"model.{name} is {value} here but {saved[name]} in {path}"
        for name, value in given.items()
        if name in saved and value != saved[name]
    ]
    if _shapes(content["state_dict"]) != _shapes(module.state_dict()) and not _adapts(module):
        reason = ", ".join(differing) or f"{type(module).__name__} is another network"
        raise InputError(
            f"{path}: does not fit these settings ({reason}); give the config.yaml of its run"
        )
    advice = "; optimiser and schedule continue with the checkpoint's" if training else ""
    for difference in differing:
        rank_zero_warn(difference + advice)


def _preparation(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what weights depend on of a data specification."""
    plan = DataSpec.from_dict(spec).plan.to_dict()
    return {name: spec.get(name) for name in PREPARATION} | {name: plan[name] for name in PLANNED}


def _adapts(module: LightningModule) -> bool:
    """Return whether a module overrides how weights are loaded, and so may load other weights."""
    kind = type(module)
    changes = kind.on_load_checkpoint is not LightningModule.on_load_checkpoint
    return changes or kind.load_state_dict is not LightningModule.load_state_dict


def _shapes(state: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in state.items()}


def _settings(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested settings by dotted names, without the data specification."""
    return flat({name: value for name, value in content.items() if name != "spec"})
