"""``wsseg init``: looks at a folder of anybody's images, and writes a table to start from."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Sequence
from pathlib import Path

from wsseg.data.layouts import CaseList, detect, find_cases
from wsseg.inspection.look import look
from wsseg.inspection.templates import configuration
from wsseg.utils.errors import InputError, attempt
from wsseg.utils.files import check_writable, write_table, write_text

TABLE, CONFIGURATION = "tags.csv", "wsseg.yaml"


def init(root: Path, *, out: Path | None = None) -> Path:
    """Look at a folder of images, say what it holds, and write a table and a configuration.

    Pictures and volumes of every format that wsseg reads are found at any depth. Which of them are
    masks, which modalities and which patients there are is guessed from names of files and folders.
    If the folder follows a layout that `wsseg prepare` knows, or holds a table or a datalist, no
    table is written. No file is ever overwritten.

    Args:
        root: The folder.
        out: Folder to write `tags.csv` and `wsseg.yaml` to; by default the folder of the images.

    Returns:
        The configuration.

    Raises:
        InputError: There is no image, or a table is there already.
    """
    root = Path(root)
    out = root if out is None else Path(out)
    if not root.is_dir():
        raise InputError(f"{root}: is no folder; give the folder that holds your images")
    check_writable(out)
    known = known_layout(root)
    if known:
        layout, source, listed = known
        count = len(listed.cases)
        print(f"{source}: follows the layout `{layout}`, with {count} case{'s' * (count > 1)}")
        print(f"  modalities: {', '.join(listed.modalities)}")
        print(f"  classes: {', '.join(listed.classes) or 'none; give --classes'}")
        return _finish(out, layout, source, [])
    table = out / TABLE
    if table.exists():
        raise InputError(
            f"{table}: is there already, but is no table of images that exist; correct or remove "
            "it, or name another folder by --out"
        )
    start = look(root.resolve() if root.name in ("", "..") else root, out)  # ids need a name
    print("\n  ".join(start.told))
    rows = zip(*start.columns.values(), strict=True)
    write_table(table, start.columns, rows)
    print(f"\n{table}: written, a line for each case")
    for number, line in enumerate(start.to_do, 1):
        print(f"  {number}. {line}")
    return _finish(out, "table", table, start.options)


def known_layout(root: Path) -> tuple[str, Path, CaseList] | None:
    """Return the layout that a folder, or a list in it, follows; with the source and its cases.

    Args:
        root: The folder.
    """
    lists = [path for path in sorted(root.glob("[!.]*")) if path.is_file()]
    for source in (root, *lists):
        layout = attempt(detect, source)
        if isinstance(layout, InputError):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `wsseg check` will tell
            listed = attempt(find_cases, layout, source)
        if isinstance(listed, InputError) or not listed.cases or listed.faults:
            continue
        if any(path.exists() for path in listed.cases[0].paths):
            return layout, source, listed
    return None


def _finish(out: Path, layout: str, source: Path, options: Sequence[str]) -> Path:
    """Write the configuration, unless there is one, and say what to do next."""
    path = out / CONFIGURATION
    lines = [
        shlex.join(["wsseg", *words])
        for words in (
            ["check", str(source), *options],
            ["prepare", layout, str(source), "STORE", *options],
            ["fit", "--config", str(path)],
            ["test", "--config", "RUN/config.yaml", "--ckpt_path", "RUN/last.ckpt"],
            ["predict", "--ckpt_path", "RUN/last.ckpt", "--input", str(source), "--output", "OUT"],
        )
    ]
    if path.exists():
        print(f"{path}: is there already, and was kept")
    else:
        write_text(path, configuration(lines))
        print(f"{path}: written, to train with")
    print("\nNext:\n  " + "\n  ".join(lines[:3]))
    return path
