"""Large pictures end to end: mosaics of histology, compressed, trained on, scored and predicted.

Writes peak memory (the largest resident set, as Linux counts it for a process that has ended) and
seconds of every command, first of a training on four mosaics, then of single ones that grow::

    python experiments/comparators/large_pictures.py ../shared/data/glas-goblet /tmp/mosaics
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

TILE = 208  # pixels to a side of what is cut out of each picture: the smallest has 215
TRAINED, GROWING = 4096, (2048, 4096, 8192)  # pixels to a side of mosaics
CONFIG = Path(__file__).with_name("after_compressed_equivariance.yaml")


def main(source: Path, out: Path) -> None:
    """Make mosaics and run the commands on them.

    Args:
        source: The folder of glas-goblet.
        out: A new folder.
    """
    halves = by_half(source)
    lines = [["image", "mask", "patient", "goblet"]]
    for number in range(4):  # no patient is in mosaics of both folds
        half, tag = divmod(number, 2)
        names = [f"{kind}{number}.tif" for kind in ("mosaic", "mask")]
        write_mosaic(halves[half][tag], TRAINED, out / "train", names, number)
        lines.append([*names, f"half{half}", str(tag)])
    with (out / "train/tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    grids, store, run = out / "grids", out / "store", out / "run"
    trainer = [f"--data.root={store}", f"--trainer.default_root_dir={run}", "--data.batch_size=2"]
    trainer += ["--data.fold=0", "--trainer.accelerator=cpu"]
    checkpoint = f"--ckpt_path={run / 'last.ckpt'}"
    print("| command | pixels | peak MiB | seconds |\n| --- | ---: | ---: | ---: |")
    measure(TRAINED, "compress", out / "train/tags.csv", grids)
    measure(TRAINED, "check", grids / "tags.csv", "--folds=2", f"--out={out / 'check'}")
    measure(TRAINED, "prepare", "table", grids / "tags.csv", store, "--folds=2")
    measure(TRAINED, "fit", f"--config={CONFIG}", *trainer)
    measure(TRAINED, "test", f"--config={run / 'config.yaml'}", checkpoint)
    for side in GROWING:
        folder, name = out / f"one{side}", ["mosaic.tif", "mask.tif"]
        write_mosaic(halves[0][1], side, folder, name, side)
        (folder / "tags.csv").write_text("image,mask,goblet\nmosaic.tif,mask.tif,1\n")
        measure(side, "compress", folder / "tags.csv", out / f"grid{side}")
        target = out / f"predicted{side}"
        measure(side, "predict", checkpoint, f"--input={folder / name[0]}", f"--output={target}")
        with tifffile.TiffFile(target / "masks/mosaic.tif") as file:
            assert file.pages.first.shape == (side, side)


def by_half(source: Path) -> list[list[list[tuple[Path, Path]]]]:
    """Return pictures and masks of each half of the patients, without and with goblet cells."""
    with (source / "tags.csv").open() as file:
        rows = list(csv.DictReader(file))
    patients: dict[str, list[str]] = {"0": [], "1": []}
    for row in rows:
        of_tag = patients[row["goblet"]]
        if row["patient"] not in patients["1"] + patients["0"]:
            of_tag.append(row["patient"])
    first = {name for names in patients.values() for name in names[::2]}
    found: list[list[list[tuple[Path, Path]]]] = [[[], []], [[], []]]
    for row in rows:
        pair = source / row["image"], source / row["mask"]
        found[row["patient"] not in first][int(row["goblet"])].append(pair)
    return found


def write_mosaic(
    pairs: list[tuple[Path, Path]], side: int, folder: Path, names: list[str], seed: int
) -> None:
    """Write a mosaic of random cuttings, and its mask, in tiles."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind, channels in enumerate((3, 1)):
        shape = (side, side, 3) if channels == 3 else (side, side)
        tifffile.imwrite(
            folder / names[kind],
            cuttings(pairs, kind, (-(-side // TILE)) ** 2, seed),
            shape=shape,
            dtype=np.uint8,
            tile=(TILE, TILE),
            photometric="rgb" if channels == 3 else "minisblack",
            compression="zlib",
        )


def cuttings(
    pairs: list[tuple[Path, Path]], kind: int, count: int, seed: int
) -> Iterator[NDArray[np.uint8]]:
    """Yield random cuttings of pictures or, with the same seed, of their masks."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        path = pairs[generator.integers(len(pairs))][kind]
        pixels = np.asarray(Image.open(path).convert("L" if kind else "RGB"))
        y, x = (int(generator.integers(length - TILE + 1)) for length in pixels.shape[:2])
        yield np.ascontiguousarray(pixels[y : y + TILE, x : x + TILE])


def measure(side: int, *arguments: object) -> None:
    """Run a command of wsseg and print a line about it."""
    command = [sys.executable, "-m", "wsseg", *map(str, arguments)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    peak = usage.ru_maxrss / 1024
    print(f"| `{arguments[0]}` | {side} | {peak:.0f} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
