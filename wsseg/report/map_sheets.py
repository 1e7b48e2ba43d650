"""The section on cluster maps: the same training slices at every refresh."""

from __future__ import annotations

import contextlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from wsseg.checkpoints.clusters import cluster_state
from wsseg.data.dataset import SliceDataset
from wsseg.data.store import SliceStore
from wsseg.prediction.inference import predict_slices
from wsseg.report.pictures import Figure, Ground, figure, figure_of_file
from wsseg.report.run_folder import RunFolder
from wsseg.tracking.map_history import MapHistory, kept_maps
from wsseg.utils.map_keeper import MapKeeper
from wsseg.utils.sampling import evenly_spaced
from wsseg.utils.targets import IGNORE, to_targets
from wsseg.visualisation import panels
from wsseg.visualisation.slices import SliceRow, slice_sheet

MOST_SHEETS = 4  # of all that training has drawn: the first, the last, and some between
MOST_REFRESHES = 7  # likewise, of the maps that are shown beside each other
MAP_PIXELS = 150  # height of such a map
SLICES_DRAWN = 4
OVERLAYS = re.compile(r"overlays-train-(\d+)\.png")


@dataclass(frozen=True)
class MapStrip:
    """A training slice and its cluster maps.

    Attributes:
        name: Case, slice and class.
        figures: The slice, then its cluster map of some refreshes.
    """

    name: str
    figures: list[Figure]


@dataclass(frozen=True)
class MapSheets:
    """The section on cluster maps.

    Attributes:
        strips: Maps of the same slices at several refreshes.
        lacking: Why there are no sheets, or fewer than there might be, and what to do.
        sheets: Pictures of some training slices, in the order of training.
    """

    strips: list[MapStrip]
    lacking: str
    sheets: list[Figure]


def map_sheets(run: RunFolder) -> MapSheets:
    """Collect what training has kept and drawn, or draw the last maps.

    Args:
        run: The run.
    """
    strips = [] if run.store is None else map_strips(run, run.store)
    found = []
    for path in sheet_files(run.path):
        step = int(path.stem.rpartition("-")[2])
        with contextlib.suppress(OSError):  # damaged; the others are still worth looking at
            found.append(figure_of_file(path, f"after {step} steps"))
    if found:
        return MapSheets(strips, "", found)
    lacking = f"Training has left no pictures in {run.path / 'logs' / 'figures'}. "
    if run.store is None:
        return MapSheets(strips, lacking + run.lacking, [])
    sheet = draw_last(run, run.store)
    return MapSheets(strips, lacking + "This one was drawn from the checkpoint.", sheet)


def map_strips(run: RunFolder, store: SliceStore) -> list[MapStrip]:
    """Draw the maps that the checkpoint has kept of some slices, for the classes they show.

    Args:
        run: The run.
        store: Its store.
    """
    state = run.checkpoint.get("callbacks", {}).get(MapHistory.__name__, {})
    index, kept = kept_maps(state)
    kept = [kept[n] for n in first_to_last(len(kept), MOST_REFRESHES)]
    training = SliceDataset(store, run.splits["train"])
    ground = Ground(run.spec, MAP_PIXELS)
    strips = []
    for number, slice_id in enumerate(index if kept else ()):
        (place,) = (training.index == slice_id).nonzero(as_tuple=True)
        if len(place) != 1:  # the store has changed
            continue
        ((case, row),) = training.places(place.tolist())
        valid = np.array(store.valid[case.id][row])
        box = ground.box(valid)
        bare = ground.draw(store.images[case.id][row].astype(np.float32), valid, box)
        for c, name in enumerate(run.spec.classes):
            if not case.tags[row, c] > 0.5:
                continue
            maps = [resized_targets(one.targets[number, c], valid)[box] for one in kept]
            drawn = [panels.targets(bare, one, valid[box]) for one in maps]
            captions = [f"for epoch {one.epoch}" for one in kept]
            figures = [figure(*pair) for pair in zip(drawn, captions, strict=True)]
            where = f", slice {case.numbers[row]}" if len(case.tags) > 1 else ""
            title = f"{case.id}{where}: {name}"
            strips.append(MapStrip(title, [figure(bare, ground.heading), *figures]))
    return strips


def resized_targets(targets: NDArray[np.int8], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Bring targets [h, w] to the pixels of a slice [H, W], each to the value of the nearest."""
    rows = np.arange(valid.shape[0]) * targets.shape[0] // valid.shape[0]
    columns = np.arange(valid.shape[1]) * targets.shape[1] // valid.shape[1]
    resized: NDArray[np.float32] = targets[rows][:, columns].astype(np.float32)
    return resized


def first_to_last(count: int, most: int) -> list[int]:
    """Return evenly spaced numbers from 0 to ``count - 1`` with both ends.

    Example:
        >>> first_to_last(9, 3), first_to_last(2, 3), first_to_last(0, 3)
        ([0, 4, 8], [0, 1], [])
    """
    return [round(n) for n in np.linspace(0, count - 1, min(most, count)).tolist()]


def sheet_files(folder: Path) -> list[Path]:
    """Return some of the files with training slices, in the order of training.

    Args:
        folder: Folder of a run.
    """
    folders = folder / "logs" / "figures", folder / "figures"
    every = [path for place in folders for path in place.glob("overlays-train-*.png")]
    every = [path for path in every if OVERLAYS.fullmatch(path.name)]
    every.sort(key=lambda path: int(path.stem.rpartition("-")[2]))
    return [every[n] for n in first_to_last(len(every), MOST_SHEETS)]


def draw_last(run: RunFolder, store: SliceStore) -> list[Figure]:
    """Draw some tagged training slices: activation, last cluster map if there is one, prediction.

    Args:
        run: The run.
        store: Its store.
    """
    data = SliceDataset(store, run.splits["train"])
    tagged = (data.tags > 0.5).any(dim=1).nonzero()[:, 0]
    rows = tagged[evenly_spaced(len(tagged), SLICES_DRAWN)].tolist()
    if not rows:
        return []
    batch = data.__getitems__(rows)
    activation = predict_slices(run.module, batch["image"], batch["valid"], SLICES_DRAWN)
    targets = _last_targets(run, batch["index"])
    drawn = [
        SliceRow(
            label=f"{case.id}\nslice {case.numbers[row]}",
            image=batch["image"][n].numpy(),
            valid=batch["valid"][n].numpy(),
            activation=activation[n].numpy(),
            targets=None if targets is None else targets[n].numpy(),
        )
        for n, (case, row) in enumerate(data.places(rows))
    ]
    pixel = run.spec.pixel or (1.0, 1.0)
    headings = ("CAM", "cluster map") if targets is not None else ("probability", "target")
    sheet = slice_sheet(
        drawn,
        list(run.spec.shown),
        list(run.spec.classes),
        threshold=run.module.threshold,
        aspect=pixel[0] / pixel[1],
        headings=headings,
    )
    return [figure(np.asarray(sheet), "at the end of training")]


def _last_targets(run: RunFolder, index: torch.Tensor) -> torch.Tensor | None:
    """Return the targets of slices [B, C, h, w] in the checkpoint; None if it has no maps."""
    state = cluster_state(run.checkpoint)
    if not state.get("maps"):
        return None
    keeper = MapKeeper()
    keeper.load_state_dict(state["maps"])
    relevance = keeper.lookup(index)
    if relevance is None or not bool((relevance != IGNORE).any()):
        return None
    table = state.get("table")
    low, high = (table["low"], table["high"]) if table else (0.5, 0.5)  # of regions: 0 or 1
    return to_targets(relevance, low, high)
