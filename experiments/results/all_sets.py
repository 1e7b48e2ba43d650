"""One table of all data sets, from the results of their benchmarks.

    python experiments/results/all_sets.py runs/busi/table runs/lgg_tcga/table > all_sets.md

Each folder has a column for each class, with the name of the folder, or of the one above a folder
`table`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from wsseg.benchmark.table import Result, case_means, incomplete, read_csv
from wsseg.evaluation.results import summarise
from wsseg.utils.errors import InputError

Column = dict[str, str]


def dice_columns(name: str, results: Sequence[Result]) -> dict[str, Column]:
    """Return for each class the Dice of each method, over the cases that have the class.

    Args:
        name: Of the data set.
        results: Its results. Those of earlier versions, which do not say what is drawn, are taken
            for cases that have the class.
    """
    partial = incomplete(results)
    having = [row for row in results if row.drawn is not False]
    columns: dict[str, Column] = {}
    for (class_name, method), values in case_means(having, "dice").items():
        mean, _, (low, high) = summarise(values)
        mark = " *" if method in partial else ""
        column = columns.setdefault(f"{name}: {class_name}", {})
        column[method] = f"{mean:.3f} [{low:.3f}, {high:.3f}]{mark}"
    return columns


def silence_columns(name: str, results: Sequence[Result]) -> dict[str, Column]:
    """Return for each class in how many cases without it a method predicts nothing, as a share.

    Args:
        name: Of the data set.
        results: Its results. If all cases have a class, it has no column.
    """
    lacking = [row for row in results if row.drawn is False]
    columns: dict[str, Column] = {}
    for (class_name, method), values in case_means(lacking, "dice").items():
        # The Dice of such a case is 1 if nothing is predicted, and 0 otherwise.
        columns.setdefault(f"{name}: {class_name}", {})[method] = f"{np.mean(values):.2f}"
    return columns


def markdown(columns: Mapping[str, Column]) -> str:
    """Return a table with a row for each method, in the order of their first appearance.

    Example:
        >>> print(markdown({"busi: lesion": {"cam": "0.1"}, "lgg: tumour": {"crs": "0.7"}}))
        | method | busi: lesion | lgg: tumour |
        | --- | ---: | ---: |
        | cam | 0.1 | - |
        | crs | - | 0.7 |
    """
    methods = dict.fromkeys(method for column in columns.values() for method in column)
    lines = [["method", *columns], ["---", *["---:"] * len(columns)]]
    lines += [[method, *(each.get(method, "-") for each in columns.values())] for method in methods]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def report(folders: Sequence[Path]) -> str:
    """Return the whole text.

    Args:
        folders: Outputs of benchmarks, each with a ``results.csv``.

    Raises:
        InputError: A folder has no results, or two have one name.
    """
    dice: dict[str, Column] = {}
    silence: dict[str, Column] = {}
    for folder in folders:
        name = set_name(folder)
        results = read_csv(folder / "results.csv")
        if doubled := dice.keys() & (found := dice_columns(name, results)).keys():
            raise InputError(
                f"{folder}: there are two columns {min(doubled)!r}; give each set once"
            )
        dice |= found
        silence |= silence_columns(name, results)
    parts = ["Dice over the held-out cases that have the class, each averaged over seeds, with the"]
    parts[0] += " bootstrap 95 % interval over cases (* not all runs are finished):"
    parts += [markdown(dice)]
    if silence:
        parts += ["Share of the held-out cases without the class in which nothing is predicted:"]
        parts += [markdown(silence)]
    return "\n\n".join(parts)


def set_name(folder: Path) -> str:
    """Return the name of a data set by where its table lies.

    Example:
        >>> set_name(Path("runs/busi/table")), set_name(Path("experiments/results/phantom"))
        ('busi', 'phantom')
    """
    folder = folder.resolve()
    return folder.parent.name if folder.name == "table" else folder.name


def main(arguments: Iterable[str] | None = None) -> int:
    """Print the table of the folders that the command line names."""
    parser = argparse.ArgumentParser(description="One table of all data sets, in Markdown.")
    parser.add_argument("folders", nargs="+", type=Path, help="outputs of wsseg benchmark")
    try:
        print(report(parser.parse_args(None if arguments is None else list(arguments)).folders))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
