"""Which probabilities tell wrong tags best? Flips tags of training slices, trains, looks for them.

    python experiments/suspicious_tags/flipped.py STORE OUTPUT --share 0.1 --epochs 12

Trains the first stage on tags of which a share is wrong. ``OUTPUT/record.npz`` keeps what the
network said of every training slice in each epoch before it learnt from it, and what the teacher
said after each epoch. Then tags are ranked by several of these. ``OUTPUT/recall.csv`` says for each
which share of the wrong tags stands in a list as long as they are many, how long the list of
confident learning is, and which share of that is wrong. If the record is there, nothing is trained.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray

from wsseg.clustering import ClusterReSupervision
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.store import CaseSlices
from wsseg.evaluation.confident_learning import CONTRADICTED, doubts
from wsseg.evaluation.suspicious_tags import probabilities
from wsseg.models import CamModule
from wsseg.models.network_input import slice_input
from wsseg.models.seeding import StepSeeding
from wsseg.utils.system import native_precision

TOGETHER = 32  # slices of a forward pass

Values = NDArray[np.float64]


class Recorder(pl.Callback):
    """Keeps the logits of the tags of all training slices, [N, heads, C] of each epoch."""

    def __init__(self) -> None:
        """Start without epochs."""
        super().__init__()
        self.network: list[Any] = []
        self.teacher: list[Any] = []
        self._logits = torch.empty(0)

    def on_fit_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Listen to the network."""

        def keep(_network: Any, _seen: Any, output: Any) -> None:
            if torch.is_grad_enabled():
                self._logits = output.slice_logits.detach().float()

        pl_module.network.register_forward_hook(keep)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Start an epoch."""
        slices = trainer.datamodule.train_set  # type: ignore[attr-defined]
        self._rows = {int(number): row for row, number in enumerate(slices.index)}
        self.network.append(np.full((len(slices), 2, slices.tags.shape[1]), np.nan, np.float32))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: Any, outputs: Any, batch: Any, *_: Any
    ) -> None:
        """Keep what the network said."""
        rows = [self._rows[int(number)] for number in batch["index"]]
        self.network[-1][rows] = self._logits.transpose(0, 1).cpu().numpy()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Keep what the teacher says of all slices, without augmentation."""
        slices = trainer.datamodule.train_set  # type: ignore[attr-defined]
        said = []
        with torch.inference_mode():
            for rows in np.array_split(np.arange(len(slices)), -(-len(slices) // TOGETHER)):
                batch = slices.__getitems__(rows.tolist())
                seen = slice_input(batch["image"], batch["valid"], pl_module.symmetric)
                said.append(pl_module.teacher.module(seen, batch["valid"]).slice_logits)
        self.teacher.append(torch.cat(said, dim=1).transpose(0, 1).float().numpy())


def flip(cases: list[CaseSlices], share: float, seed: int) -> NDArray[np.bool_]:
    """Flip tags of some slices in place, of each class apart; return which, [N, C]."""
    rng = np.random.default_rng(seed)
    count, classes = sum(len(case.tags) for case in cases), cases[0].tags.shape[1]
    flipped = np.zeros((count, classes), bool)
    for c in range(classes):
        flipped[rng.choice(count, round(share * count), replace=False), c] = True
    first = 0
    for case in cases:
        here = torch.from_numpy(flipped[first : first + len(case.tags)])
        case.tags[:] = torch.where(here, 1 - case.tags, case.tags)
        first += len(case.tags)
    return flipped


def record(options: argparse.Namespace, path: Path) -> None:
    """Train on wrong tags, and write the record."""
    pl.seed_everything(options.seed, verbose=False)
    data = MRISliceDataModule(options.store, fold=options.fold, batch_size=16)
    data.splits["train"] = data.splits["train"][: options.cases]
    flipped = flip(data.splits["train"], options.share, options.seed)
    recorder = Recorder()
    trainer = pl.Trainer(
        default_root_dir=options.output,
        max_epochs=options.epochs,
        precision=native_precision(),  # type: ignore[arg-type]
        callbacks=[
            recorder,
            ClusterReSupervision(warmup_epochs=4, every_n_epochs=4),
            StepSeeding(),
        ],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    trainer.fit(CamModule(data.spec.to_dict()), data)
    slices = data.train_set
    assert slices is not None
    np.savez(
        path,
        network=np.stack(recorder.network),
        teacher=np.stack(recorder.teacher),
        flipped=flipped,
        tags=slices.tags.numpy() > 0.5,
        case=slices.case.numpy(),
    )


def candidates(kept: Any) -> dict[str, Values]:
    """Return probabilities of tags [N, C], by what they are."""
    network, teacher = (kept[name].mean(axis=2) for name in ("network", "teacher"))
    half = len(network) // 2
    mean = sigmoid(network).mean(axis=0)
    once = np.concatenate((np.ones_like(mean[:, :1]), mean), axis=1)
    return {
        "suspicious_tags.csv": probabilities(once, kept["case"], kept["tags"].astype(float)),
        "network, mean probability of all epochs": mean,
        "network, mean logit of all epochs": sigmoid(network.mean(axis=0)),
        "network, mean probability of the first half": sigmoid(network[:half]).mean(axis=0),
        "network, mean probability of the second half": sigmoid(network[half:]).mean(axis=0),
        "network, last epoch": sigmoid(network[-1]),
        "teacher, mean probability of all epochs": sigmoid(teacher).mean(axis=0),
        "teacher, end of training": sigmoid(teacher[-1]),
    }


def sigmoid(logits: Values) -> Values:
    """Return probabilities."""
    return np.asarray(1 / (1 + np.exp(-logits.astype(np.float64))))


def found(
    probability: Values, tags: NDArray[np.bool_], flipped: NDArray[np.bool_]
) -> tuple[float, int, float]:
    """Return the share of wrong tags that is found, the length of the list, and how right it is."""
    columns = zip(probability.T, tags.T, strict=True)
    doubt = np.stack([doubts(*column) for column in columns], axis=1).ravel()
    wrong = flipped.ravel()
    first = np.argsort(-doubt, kind="stable")[: wrong.sum()]
    listed = doubt >= CONTRADICTED
    right = float(wrong[listed].mean()) if listed.any() else float("nan")
    return float(wrong[first].mean()) if wrong.any() else float("nan"), int(listed.sum()), right


def main() -> None:
    """Train, if there is no record, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store")
    parser.add_argument("output", type=Path)
    parser.add_argument("--share", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--fold", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cases", type=int, help="train on the first cases only")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / "record.npz"
    if not path.is_file():
        record(options, path)
    kept = np.load(path)
    wrong, count = int(kept["flipped"].sum()), kept["tags"].size
    print(f"{wrong} of {count} tags are wrong")
    with (options.output / "recall.csv").open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["probabilities", "tags", "wrong", "found", "listed", "listed_wrong"])
        for name, probability in candidates(kept).items():
            share, listed, right = found(probability, kept["tags"], kept["flipped"])
            print(f"{name}: {share:.2f} found; {listed} listed, of which {right:.2f} are wrong")
            table.writerow([name, count, wrong, f"{share:.3f}", listed, f"{right:.3f}"])


if __name__ == "__main__":
    main()
