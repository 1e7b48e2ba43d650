"""Cut the pictures of nuclei-tcga-glioma into tiles of which some hold no nucleus.

python experiments/datalists/nuclei_tcga.py ../shared/data/nuclei-tcga-glioma runs/nuclei_tcga/tiles
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

SIDE = 32  # pixels of the picture; of larger tiles hardly any is without a nucleus
ENLARGED = 64  # pixels of a tile, so that the encoder can halve it often enough
TOUCHED = 0.02  # a tile with a smaller share of nuclei, but some, is left out: neither tag is right


def apart(instances: np.ndarray) -> np.ndarray:
    """Return where nuclei are [H, W] bool, without pixels that touch another nucleus.

    The connected components (4 neighbours) of the result are then single nuclei.
    """
    mask = instances > 0
    for axis in (0, 1):
        one, other = (np.delete(instances, n, axis) for n in (-1, 0))
        touching = (one != other) & (one > 0) & (other > 0)
        mask &= ~np.pad(touching, [(0, int(a == axis)) for a in (0, 1)])
    return mask


def tiles(folder: Path) -> Iterator[tuple[str, str, Image.Image, np.ndarray]]:
    """Yield the name, the patient, the picture and the mask [64, 64] bool of every usable tile."""
    for path in sorted(folder.glob("*_instances.png")):
        name = path.stem.removesuffix("_instances")
        picture = Image.open(path.with_name(f"{name}.png")).convert("RGB")
        instances = np.asarray(Image.open(path))
        height, width = instances.shape
        for top in range(0, height - SIDE + 1, SIDE):
            for left in range(0, width - SIDE + 1, SIDE):
                part = instances[top : top + SIDE, left : left + SIDE]
                if 0 < (part > 0).mean() < TOUCHED:
                    continue
                large = part.repeat(ENLARGED // SIDE, axis=0).repeat(ENLARGED // SIDE, axis=1)
                box = (left, top, left + SIDE, top + SIDE)
                image = picture.crop(box).resize((ENLARGED, ENLARGED), Image.Resampling.BILINEAR)
                yield f"{name}_{top}_{left}", name[:12], image, apart(large)


def main(source: Path, folder: Path) -> None:
    """Draw tiles and write them with a table of tags.

    Of every patient and tag as many tiles are drawn as there are of the rarest.

    Args:
        source: The folder of the pictures.
        folder: Gets the tiles, ``masks`` and ``tags.csv``.
    """
    found: dict[tuple[str, bool], list[tuple[str, Image.Image, np.ndarray]]] = {}
    for name, patient, image, mask in tiles(source):
        found.setdefault((patient, bool(mask.any())), []).append((name, image, mask))
    if not found:
        sys.exit(f"{source}: holds no NAME_instances.png; name the folder of the pictures")
    rng, lines = np.random.default_rng(0), []
    (folder / "masks").mkdir(parents=True, exist_ok=True)
    fewest = min(map(len, found.values()))
    for (patient, tag), group in sorted(found.items()):
        for number in sorted(rng.permutation(len(group))[:fewest]):
            name, image, mask = group[number]
            image.save(folder / f"{name}.png")
            Image.fromarray(mask.astype(np.uint8)).save(folder / "masks" / f"{name}.png")
            lines.append((f"{name}.png", f"masks/{name}.png", patient, int(tag)))
    with (folder / "tags.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("image", "mask", "patient", "nuclei"), *lines])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
