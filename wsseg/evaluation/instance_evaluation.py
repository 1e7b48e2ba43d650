"""The callback that scores single objects in a test."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn

from wsseg.data.datamodule import data_of
from wsseg.data.store import SliceStore
from wsseg.evaluation.callback import is_limited
from wsseg.evaluation.instances import (
    InstanceScores,
    connected,
    score_instances,
    split_instances,
)
from wsseg.evaluation.results import summarise
from wsseg.prediction.finishing import finish
from wsseg.utils.errors import InputError
from wsseg.utils.files import write_table, write_text

INSTANCES_FILE = "instances.json"
INSTANCE_CASES_FILE = "instances_per_case.csv"


class InstanceEvaluation(pl.Callback):
    """Scores the instances of each test picture: AJI, PQ, SQ and F1.

    A true instance is a connected component of the true mask, so nuclei that touch must be drawn
    with a line of background between them. Predicted masks are finished as ``wsseg predict`` does,
    and split by :func:`~wsseg.evaluation.instances.split_instances`. Writes ``instances.json`` and
    ``instances_per_case.csv`` into the trainer's root folder.

    Example:
        >>> trainer = pl.Trainer(callbacks=[InstanceEvaluation()], logger=False)
    """

    def __init__(self) -> None:
        """Start without scores."""
        super().__init__()
        self._rows: dict[tuple[str, str], InstanceScores] = {}

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Refuse what cannot be scored.

        Raises:
            InputError: The data are no pictures, or there are several processes.
        """
        self._rows = {}
        store: SliceStore = data_of(trainer).store
        if not store.spec.of_pictures:
            raise InputError(
                f"{store.root}: InstanceEvaluation scores pictures, and these are volumes; leave "
                "the callback out"
            )
        if trainer.world_size > 1:
            raise InputError(
                "InstanceEvaluation scores in one process; test with --trainer.devices=1"
            )

    def on_test_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Score the pictures of a batch."""
        module: Any = pl_module
        store: SliceStore = data_of(trainer).store
        cases, classes = list(store.cases.values()), list(store.spec.classes)
        given = (outputs["probability"], batch["image"], batch["valid"])
        probability, image, valid = (each.cpu() for each in given)
        truth = batch["mask"].cpu().numpy().astype(bool)
        for row, position in enumerate(batch["case"].tolist()):
            one = slice(row, row + 1)  # a picture is a case
            masks = finish(module, probability[one].float(), image[one], valid[one])
            found = (masks > module.threshold).numpy()
            for c, name in enumerate(classes):
                labels = split_instances(found[0, c]), connected(truth[row, c])
                self._rows[cases[position].id, name] = score_instances(*labels)

    def on_test_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Write both files, and say the means."""
        if is_limited(trainer.limit_test_batches):
            rank_zero_warn("not all test slices were run, so instances are not written")
            return
        folder = Path(trainer.default_root_dir)
        lines = [(*key, *(f"{each:.6g}" for each in row)) for key, row in self._rows.items()]
        fields = InstanceScores._fields
        write_table(folder / INSTANCE_CASES_FILE, ("case", "class", *fields), lines)
        means = instance_table(self._rows)
        write_text(folder / INSTANCES_FILE, json.dumps(means, indent=2) + "\n")
        for name, table in means.items():
            said = ", ".join(f"{field} {table[field]['mean']:.3f}" for field in fields)
            print(f"instances of `{name}`, mean of {table['cases']} pictures: {said}")


def instance_table(rows: dict[tuple[str, str], InstanceScores]) -> dict[str, dict[str, Any]]:
    """Summarise instance scores of each class over pictures.

    Args:
        rows: The scores by case and class.

    Returns:
        ``{class: {measure: {"mean", "median", "ci95"}, "cases": n}}``.

    Example:
        >>> table = instance_table({("ann", "nuclei"): InstanceScores(0.5, 0.25, 0.5, 0.5)})
        >>> table["nuclei"]["pq"]["mean"], table["nuclei"]["cases"]
        (0.25, 1)
    """
    table: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(name for _, name in rows):
        scores = np.array([row for (_, of), row in rows.items() if of == name])
        table[name] = {
            field: summarise(scores[:, n].tolist())._asdict()
            for n, field in enumerate(InstanceScores._fields)
        }
        table[name]["cases"] = len(scores)
    return table
