"""The section on held-out cases: what is predicted for cases that were not trained on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from wsseg.checkpoints import CONFIG_FILE, LAST_CHECKPOINT
from wsseg.data.masked import masks_of
from wsseg.data.store import CaseSlices, SliceStore
from wsseg.prediction.finishing import finish
from wsseg.prediction.inference import predict_slices
from wsseg.prediction.overview import shown_slices
from wsseg.report.pictures import Figure, Ground, figure
from wsseg.report.run_folder import RunFolder
from wsseg.report.scores import CaseScore, Scores, mean_dice, read_scores
from wsseg.utils.sampling import evenly_spaced
from wsseg.visualisation import panels
from wsseg.visualisation.colours import PREDICTION, TRUTH, class_colour
from wsseg.visualisation.panels import Picture

SHOWN_OF_A_CASE = 3  # slices
SLICE_PIXELS = 240  # height of a picture
UNSCORED_CASES = 3
PREDICTED_TOGETHER = 32  # slices of a forward pass
MOST_ROWS = 300  # of the table of cases: a set of pictures may have thousands

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class ShownCase:
    """A case with its pictures.

    Attributes:
        role: "best", "median" or "worst"; empty where nothing was scored.
        name: Of the case.
        scores: Of each class.
        figures: Slices; each is followed by the same slice with the prediction.
    """

    role: str
    name: str
    scores: list[CaseScore]
    figures: list[tuple[Figure, Figure]]


@dataclass(frozen=True)
class HeldOut:
    """The section on held-out cases.

    Attributes:
        lacking: Why something is not shown, and what to do.
        scores: What was scored; None if nothing was.
        shown: Some cases.
        legend: Name and colour of each kind of mask.
        heading: What is shown below the masks.
        rows: Scores by case and class, the worst case first.
        left_out: Number of rows that the table leaves out.
    """

    lacking: list[str]
    scores: Scores | None = None
    shown: list[ShownCase] = field(default_factory=list)
    legend: list[tuple[str, str]] = field(default_factory=list)
    heading: str = ""
    rows: list[CaseScore] = field(default_factory=list)
    left_out: int = 0


def held_out(run: RunFolder) -> HeldOut:
    """Predict some held-out cases, those that tell most if there are scores.

    True masks are opened of held-out cases only, and only if these were scored.

    Args:
        run: The run.
    """
    split, cases = run.held_out
    scores = read_scores(run.path)
    lacking = [] if scores else [_how_to_score(run)]
    if run.leaked:
        lacking.append(
            f"The splits of the store have changed: this run was trained on {len(run.leaked)} of "
            f"the cases that it now holds out, such as {run.leaked[0]}. These are not shown."
        )
    rows = sorted_rows(scores)
    told = {"scores": scores, "rows": rows[:MOST_ROWS], "left_out": max(0, len(rows) - MOST_ROWS)}
    if run.store is None or not cases:
        why = run.lacking or "The store holds no case that was not trained on."
        return HeldOut([*lacking, f"There are no pictures. {why}"], **told)  # type: ignore[arg-type]
    by_name = {case.id: case for case in cases}
    roles = roles_of({name: dice for name, dice in _ranked(scores).items() if name in by_name})
    if scores and not roles:
        lacking.append("The scores are of other cases than those that the store holds out.")
    masked = bool(roles)
    if not roles:
        chosen = evenly_spaced(len(cases), UNSCORED_CASES).tolist()
        roles = {cases[number].id: "" for number in chosen}
        lacking.append(f"These are cases of the split `{split}`, without their true masks.")
    shown = [
        ShownCase(
            role,
            name,
            [one for one in rows if one.case == name],
            draw_case(run, run.store, by_name[name], masked=masked),
        )
        for name, role in roles.items()
    ]
    ground = Ground(run.spec, SLICE_PIXELS)
    legend = legend_of(list(run.spec.classes), masked=masked)
    return HeldOut(lacking, shown=shown, legend=legend, heading=ground.heading, **told)  # type: ignore[arg-type]


def roles_of(dice: dict[str, float]) -> dict[str, str]:
    """Choose the best, the median and the worst case.

    Args:
        dice: Of each case, the worst first.

    Example:
        >>> roles_of({"ann": 0.1, "ben": 0.5, "eve": 0.7, "joe": 0.9})
        {'joe': 'best', 'ben': 'median', 'ann': 'worst'}
        >>> roles_of({"ann": 0.1})
        {'ann': 'only case'}
    """
    names = list(dice)
    if len(names) < 2:
        return dict.fromkeys(names, "only case")
    middle = {names[(len(names) - 1) // 2]: "median"} if len(names) > 2 else {}
    return {names[-1]: "best", **middle, names[0]: "worst"}


def sorted_rows(scores: Scores | None) -> list[CaseScore]:
    """Return the rows of all cases, the worst case first, cases with nothing drawn last."""
    order = list(_ranked(scores))
    rows = scores.cases if scores else []
    place = {name: number for number, name in enumerate(order)}
    return sorted(rows, key=lambda row: place.get(row.case, len(order)))


def draw_case(
    run: RunFolder, store: SliceStore, case: CaseSlices, *, masked: bool
) -> list[tuple[Figure, Figure]]:
    """Predict a held-out case, and draw some of its slices without and with the prediction.

    Args:
        run: The run.
        store: Its store.
        case: The case.
        masked: Draw the outlines of the true masks, too.
    """
    image = store.images[case.id].astype(np.float32)
    valid = np.array(store.valid[case.id])
    slices = torch.from_numpy(image), torch.from_numpy(valid)
    probability = predict_slices(run.module, *slices, PREDICTED_TOGETHER)
    found: Mask = (finish(run.module, probability, *slices) > run.module.threshold).numpy()
    truth = np.array(masks_of(store)[case.id]) if masked else None
    either = found if truth is None else found | truth
    chosen = shown_slices(np.any(either, axis=1), valid, SHOWN_OF_A_CASE)
    ground = Ground(run.spec, SLICE_PIXELS)
    box = ground.box(valid[chosen])
    pairs = []
    for row in chosen:
        bare = ground.draw(image[row], valid[row], box)
        part = slice(None), *box
        drawn = draw_masks(bare, found[row][part], None if truth is None else truth[row][part])
        name = f"slice {case.numbers[row]}" if len(valid) > 1 else ""
        pairs.append((figure(bare, name), figure(drawn, f"{name} with masks".strip())))
    return pairs


def draw_masks(picture: Picture, found: Mask, truth: Mask | None) -> Picture:
    """Draw predicted masks, and above them the outlines of true ones.

    With a single class, prediction and truth differ in colour; with several, each class has its
    colour, and true outlines are thin and dashed by the white below them.

    Args:
        picture: Picture to draw on.
        found: [C, h, w].
        truth: [C, h, w]; None to draw none.
    """
    if len(found) == 1:
        drawn = panels.overlay(picture, found[0], PREDICTION)
        return drawn if truth is None else panels.outline(drawn, truth[0], TRUTH, width=1.4)
    drawn = picture
    for number, mask in enumerate(found):
        drawn = panels.fill(drawn, mask, class_colour(number), alpha=0.45)
    for number, mask in enumerate([] if truth is None else truth):
        drawn = panels.outline(drawn, mask, (255, 255, 255), width=2.6)
        drawn = panels.outline(drawn, mask, class_colour(number), width=1.2)
    return drawn


def legend_of(classes: Sequence[str], *, masked: bool) -> list[tuple[str, str]]:
    """Return name and colour of each kind of mask.

    Example:
        >>> legend_of(["cyst"], masked=True)
        [('predicted cyst', 'rgb(255, 159, 28)'), ('true cyst', 'rgb(72, 222, 190)')]
    """
    if len(classes) == 1:
        named = [(f"predicted {classes[0]}", PREDICTION)]
        named += [(f"true {classes[0]}", TRUTH)] if masked else []
    else:
        named = [(name, class_colour(number)) for number, name in enumerate(classes)]
    return [(name, f"rgb{colour}") for name, colour in named]


def _ranked(scores: Scores | None) -> dict[str, float]:
    return mean_dice(scores.cases) if scores else {}


def _how_to_score(run: RunFolder) -> str:
    config, checkpoint = run.path / CONFIG_FILE, run.path / LAST_CHECKPOINT
    named = shlex.join(["--config", str(config), "--ckpt_path", str(checkpoint)])
    return (
        "Nothing was scored yet. If the store holds masks of test cases, this command scores them: "
        f"`wsseg test {named}`. Then make the report again."
    )
