r"""How much do a few corrected masks gain? Trains both stages, and scores them.

    python experiments/corrections/few_masks.py OUTPUT
    python experiments/corrections/few_masks.py OUTPUT --store STORE \
        --masks 'IMAGES/{case}/tumour.nii.gz'

For each seed both stages learn from tags, and from the true masks of no, one, two and four training
patients as if somebody had corrected them: of small phantoms, or of a store that is given. Writes
``corrections.csv``, a line for each stage, and prints the lines: the mean Dice of each class over
the held-out patients. Finished lines are kept.
"""

from __future__ import annotations

import argparse
import csv
import shutil
from pathlib import Path

import pytorch_lightning as pl

from wsseg.clustering import ClusterReSupervision
from wsseg.data.datamodule import MRISliceDataModule
from wsseg.data.preparation import prepare
from wsseg.data.store import SliceStore
from wsseg.data.store_files import MANIFEST
from wsseg.evaluation import CaseEvaluation
from wsseg.models import CamModule
from wsseg.models.seeding import StepSeeding
from wsseg.models.slice_module import SliceModule
from wsseg.phantom import write_phantom
from wsseg.segmentation import PseudoMasks, SegmentationModule

CLASSES = {"whole": [1, 2, 4], "core": [1, 4], "enhancing": [4]}
PATIENTS, FOLDS = 20, 2  # half of them train
SPACING, SLICE_STEP = 4.0, 3  # coarse, so that a CPU trains a network in a minute
EPOCHS = 16  # of either stage: few, for the same reason
COUNTS = (0, 1, 2, 4)
CLUSTERINGS = {"warmup_epochs": 4, "every_n_epochs": 4}  # as in experiments/quickstart.yaml


def make_store(output: Path) -> Path:
    """Write the phantoms and prepare them, unless that is done."""
    store = output / "store"
    if not (store / MANIFEST).is_file():
        source = write_phantom(output / "source", cases=PATIENTS)
        options = {"spacing": SPACING, "slice_step": SLICE_STEP, "folds": FOLDS}
        prepare("brats", source, store, classes=CLASSES, val_fraction=0.0, **options)  # type: ignore[arg-type]
    return store


def correct(output: Path, data: MRISliceDataModule, count: int, masks: str) -> str:
    """Lay the true masks of some training patients in a folder, as if somebody had drawn them."""
    folder = output / f"corrected_{count}"
    folder.mkdir(parents=True, exist_ok=True)
    for case in data.splits["train"][:count]:
        shutil.copy(masks.format(case=case.id), folder / f"{case.id}.nii.gz")
    return str(folder)


def train(
    module: SliceModule, data: MRISliceDataModule, output: Path, *more: pl.Callback
) -> pl.Trainer:
    """Train a stage from the beginning."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=EPOCHS,
        callbacks=[*more, CaseEvaluation(), StepSeeding()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=output,
    )
    trainer.fit(module, data)
    return trainer


def score(trainer: pl.Trainer, module: SliceModule, data: MRISliceDataModule) -> list[float]:
    """Return the mean Dice of each class over held-out patients."""
    found = trainer.test(module, data, verbose=False)[0]
    return [found[f"test/dice_{name}"] for name in data.spec.classes]


def measure(output: Path, store: Path, masks: str, seed: int, count: int) -> dict[str, list[float]]:
    """Train both stages; return the scores of each."""
    data = MRISliceDataModule(str(store), batch_size=16)
    if count:
        folder = correct(output, data, count, masks)
        data = MRISliceDataModule(str(store), batch_size=16, corrections=folder)
    pl.seed_everything(seed, verbose=False)
    first = CamModule(data.spec.to_dict())
    trainer = train(first, data, output, ClusterReSupervision(**CLUSTERINGS))  # type: ignore[arg-type]
    trainer.save_checkpoint(output / "first.ckpt")
    pl.seed_everything(seed, verbose=False)
    targets = PseudoMasks(str(output / "first.ckpt"))
    second = SegmentationModule(data.spec.to_dict(), targets=targets)
    scores = {"first": score(trainer, first, data)}
    return {**scores, "second": score(train(second, data, output), second, data)}


def main() -> None:
    """Measure all seeds and numbers of corrected patients that were not measured before."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--store", type=Path, help="a prepared store; by default one of phantoms")
    parser.add_argument("--masks", help="where its true masks are; {case} stands for the case's id")
    options = parser.parse_args()
    if (options.store is None) != (options.masks is None):
        parser.error("give both --store and --masks, or neither")
    options.output.mkdir(parents=True, exist_ok=True)
    store = options.store or make_store(options.output)
    masks = options.masks or f"{options.output}/source/{{case}}/{{case}}_seg.nii.gz"
    classes = SliceStore(store).spec.classes
    table = options.output / "corrections.csv"
    lines = list(csv.reader(table.open())) if table.is_file() else []
    done = {(line[0], line[1]) for line in lines}
    with table.open("a", newline="") as file:
        writer = csv.writer(file)
        if not lines:
            writer.writerow(["seed", "corrected", "stage", *classes])
        for seed in options.seeds:
            for count in options.counts:
                if (str(seed), str(count)) not in done:
                    for stage, scores in measure(options.output, store, masks, seed, count).items():
                        line = [seed, count, stage, *(f"{value:.3f}" for value in scores)]
                        writer.writerow(line)
                        print(*line, flush=True)
                    file.flush()


if __name__ == "__main__":
    main()
