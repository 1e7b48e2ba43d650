"""Mean Dice of a benchmark over the cases that have the class, by its tags.

In tables of pictures, images without the class count too: 1 where nothing is predicted, else 0.

    python experiments/results/tagged_only.py STORE OUTPUT
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from wsseg.data.store import SliceStore
from wsseg.evaluation.results import CASES_FILE, read_cases


def tagged_dice(store: Path, output: Path) -> dict[str, dict[str, float]]:
    """Return for each method and class the mean Dice over tagged cases, of all folds and seeds.

    Args:
        store: The slice store of the benchmark.
        output: Folder of the benchmark, with ``METHOD/RUN/per_case.csv``.
    """
    opened = SliceStore(store)
    classes = list(opened.spec.classes)
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for file in sorted(output.glob(f"*/*/{CASES_FILE}")):
        for row in read_cases(file.parent):
            channel = classes.index(row["class"])
            if opened.cases[row["case"]].tags[:, channel].max() > 0:
                found[file.parts[-3]][row["class"]].append(float(row["dice"]))
    return {
        method: {name: sum(values) / len(values) for name, values in of_class.items()}
        for method, of_class in found.items()
    }


if __name__ == "__main__":
    for name, scores in tagged_dice(Path(sys.argv[1]), Path(sys.argv[2])).items():
        print(name, ", ".join(f"{kind} {value:.3f}" for kind, value in scores.items()))
