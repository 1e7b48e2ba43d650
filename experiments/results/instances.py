"""AJI, PQ and F1 of the runs of a benchmark whose tests had ``InstanceEvaluation``.

    python experiments/results/instances.py runs/nuclei_tcga/table

Means over the pictures in which the class is drawn, and then over runs.
"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from wsseg.evaluation.instance_evaluation import INSTANCE_CASES_FILE
from wsseg.evaluation.results import CASES_FILE

MEASURES = ("aji", "pq", "f1")
Key = tuple[str, str]  # case and class


def read(path: Path) -> dict[Key, dict[str, str]]:
    """Return the lines of a table by case and class."""
    with path.open(newline="") as file:
        return {(line["case"], line["class"]): line for line in csv.DictReader(file)}


def main(table: Path) -> None:
    """Print a line for each method and class.

    Args:
        table: The folder ``output`` of a benchmark.
    """
    runs: dict[Key, list[list[float]]] = defaultdict(list)
    for path in sorted(table.glob(f"*/*/{INSTANCE_CASES_FILE}")):
        scores, cases = read(path), read(path.with_name(CASES_FILE))
        for name in dict.fromkeys(name for _, name in scores):
            drawn = [key for key in scores if key[1] == name and cases[key]["drawn"] == "1"]
            of_run = [[float(scores[key][m]) for m in MEASURES] for key in drawn]
            runs[path.parent.parent.name, name].append(np.mean(of_run, axis=0).tolist())
    if not runs:
        sys.exit(f"{table}: no run holds {INSTANCE_CASES_FILE}; name the `output` of a benchmark")
    print("| method | class | runs | AJI | PQ | F1 |\n| --- | --- | ---: | ---: | ---: | ---: |")
    for (method, name), values in runs.items():
        means = " | ".join(f"{value:.3f}" for value in np.mean(values, axis=0))
        print(f"| `{method}` | {name} | {len(values)} | {means} |")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
