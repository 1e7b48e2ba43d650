"""The section that says what the model is for, where its limits are, and how it was made."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch

from wsseg.checkpoints import CONFIG_FILE
from wsseg.checkpoints.origin import code_version, origin_of
from wsseg.data.spec import DataSpec, format_pixel
from wsseg.report.data_facts import DataFacts
from wsseg.report.held_out import HeldOut
from wsseg.report.run_folder import RunFolder, as_yaml

FEW_CASES = 20  # from which on a bootstrap interval is no longer called too narrow
NAME_OF_STAGE = {
    "CamModule": "first stage: a CAM network, trained on tags",
    "SegmentationModule": "second stage: a segmentation network",
}
LEARNED_FROM_TAGS = (
    "Masks were learned from tags of slices, so borders follow what images show, not what an "
    "annotator would draw."
)
CORRECTED = "Beside tags, it has learned from masks of training cases that a person had corrected."
LEARNED_FROM_MASKS = "Masks were learned from drawn masks, with all habits of those who drew them."


@dataclass(frozen=True)
class Card:
    """The model card.

    Attributes:
        uses: What the model is for.
        not_for: What it is not for.
        limits: What is known of its limits.
        facts: How it was made: pairs of a heading and a text.
        commands: The commands that have made it, the first one first; empty if a script has.
        again: The command that trains it again; empty if that is not known.
        settings: All settings, as YAML.
    """

    uses: list[str]
    not_for: list[str]
    limits: list[str]
    facts: list[tuple[str, str]]
    commands: list[str]
    again: str
    settings: str


def model_card(run: RunFolder, data: DataFacts, cases: HeldOut) -> Card:
    """Collect what there is to say of a model.

    Args:
        run: The run.
        data: Facts of its data.
        cases: What was found of held-out cases.
    """
    spec = run.spec
    classes, images = ", ".join(spec.classes), image_words(spec)
    uses = [
        f"Research. The model proposes masks of {classes} in {images} that were taken like those "
        "of its training.",
        "A person who knows the disease looks at each mask, and corrects it where it matters.",
    ]
    not_for = [
        "Decisions about the diagnosis or the treatment of a patient: it is no medical device, and "
        "nobody has tested it as one.",
        "Images of other kinds, of other parts of the body or of other devices, before it was "
        "scored on some of these with drawn masks.",
    ]
    config = run.path / CONFIG_FILE
    again = f"wsseg fit --config {shlex.quote(str(config))}" if run.config else ""
    commands = [each["command"] for each in origin_of(run.checkpoint)]
    known = limits(run, data, cases)
    return Card(uses, not_for, known, origin(run), commands, again, as_yaml(run.config))


def limits(run: RunFolder, data: DataFacts, cases: HeldOut) -> list[str]:
    """Say what is known of the limits of a model."""
    spec = run.spec
    corrected = run.setting("data", "corrections")
    named = learned_from(run.setting("model", "init_args", "targets"), bool(corrected))
    training = next((row for row in data.splits if row.purpose.startswith("training")), None)
    if training is not None:
        named.append(
            f"It has seen {training.cases} cases of {training.patients} patients, "
            f"{training.slices} slices."
        )
    if spec.plan.unit == "mm" and (spec.spacing or spec.plan.longest_side is None):
        where = f"of {format_pixel(spec.pixel)}" if spec.pixel else "like those of training"
        named.append(f"Pixels should be {where}; `wsseg predict` warns of other images.")
    named += [_how_good(cases)]
    for mean in cases.scores.means if cases.scores else ():
        if mean.drawn and mean.drawn_dice is not None and mean.drawn_dice < 0.5:
            named.append(f"`{mean.name}` is found poorly: a mean Dice of {mean.drawn_dice:.2f}.")
    return named + data.doubts


def learned_from(targets: Any, corrected: bool) -> list[str]:
    """Say who drew the masks that a model has learned from.

    Args:
        targets: The setting ``model.init_args.targets``, None where there is none.
        corrected: Whether corrected masks were given.

    Example:
        >>> learned_from(None, corrected=True)[1]
        'Beside tags, it has learned from masks of training cases that a person had corrected.'
    """
    settings = targets if isinstance(targets, dict) else {}
    drawn = "TrueMasks" in str(settings.get("class_path"))
    return [LEARNED_FROM_MASKS if drawn else LEARNED_FROM_TAGS, *([CORRECTED] if corrected else [])]


def origin(run: RunFolder) -> list[tuple[str, str]]:
    """Return how a model was made."""
    content, name = run.checkpoint, type(run.module).__name__
    weights = sum(value.numel() for value in run.module.network.parameters())
    facts = [
        ("model", f"{name} ({NAME_OF_STAGE[name]})" if name in NAME_OF_STAGE else name),
        ("parameters", f"{weights:,}"),
        ("epochs", f"{content['epoch'] + 1}, {content['global_step']} steps"),
        ("seed", _setting(run, "seed_everything")),
        ("batch size", _setting(run, "data", "batch_size")),
        ("precision", _setting(run, "trainer", "precision", default="32-true")),
        ("threshold", f"{run.module.threshold:g}, fixed in advance"),
        ("trained with", trained_with(content)),
        ("report made with", software()),
        ("checkpoint, SHA-256", file_hash(run)),
        ("training cases, SHA-256", data_hash(content)),
    ]
    return [(heading, text) for heading, text in facts if text]


def data_hash(content: Mapping[str, Any]) -> str:
    """Return a hash of the images of all cases that a checkpoint was trained on.

    Args:
        content: Content of the checkpoint.

    Returns:
        Empty if the checkpoint does not know them.
    """
    states = [state for state in content.values() if isinstance(state, Mapping)]
    sources = sorted({source for state in states for source in state.get("trained_on", ())})
    return hashlib.sha256(" ".join(sources).encode()).hexdigest() if sources else ""


def file_hash(run: RunFolder) -> str:
    """Return the hash of the checkpoint's file."""
    with run.checkpoint_path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def trained_with(content: Mapping[str, Any]) -> str:
    """Name the versions of what has made a checkpoint, and that of each later resumption.

    Example:
        >>> made = {"Origin": {"commands": [{"wsseg": "0.1.0 (5f3e)", "command": "wsseg fit"}]}}
        >>> trained_with({"pytorch-lightning_version": "2.6.6", "callbacks": made})
        'wsseg 0.1.0 (5f3e), Lightning 2.6.6'
    """
    versions = dict.fromkeys(f"wsseg {each['wsseg']}" for each in origin_of(content))
    lightning = content.get("pytorch-lightning_version", "unknown")
    return ", ".join([*versions, f"Lightning {lightning}"])


def software() -> str:
    """Name the versions of what makes the report."""
    parts = [f"wsseg {code_version()}", f"torch {torch.__version__}"]
    parts += [f"Lightning {version('pytorch-lightning')}", f"Python {platform.python_version()}"]
    return ", ".join([*parts, f"{platform.system()} on {platform.machine()}"])


def image_words(spec: DataSpec) -> str:
    """Describe the images of a model.

    Example:
        >>> image_words(DataSpec(("T1", "FLAIR"), {"cyst": (1,)}, "axial", None, (32, 32)))
        'axial slices of T1, FLAIR'
    """
    if spec.in_colour:
        return "colour pictures"
    if spec.plan.unit == "px":
        return f"pictures ({', '.join(spec.modalities)})"
    return f"{spec.axis} slices of {', '.join(spec.modalities)}"


def _how_good(cases: HeldOut) -> str:
    if cases.scores is None or not cases.scores.means:
        return "How good its masks are is not known: nothing was scored."
    count = max(mean.cases for mean in cases.scores.means)
    few = ", so few that the intervals above are too narrow" if count < FEW_CASES else ""
    return f"Its scores are those of {count} held-out cases{few}."


def _setting(run: RunFolder, *names: str, default: str = "") -> str:
    found = run.setting(*names)
    if found is None:
        return default if run.config else ""
    return os.fspath(found) if isinstance(found, str) else str(found)
