"""Datalists, folders of known layouts and benchmarks, of which something is missing or wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.malformed.damages import OF_ANY_FILE, change, put, remove
from tests.malformed.entry import Malformed, nothing
from tests.malformed.examples import BENCHMARK, picture

DATALIST = "prepare datalist list.json out --folds 2 --workers 1 --min_anatomy 0"
DECATHLON = "prepare decathlon . out --folds 2 --workers 1 --min_anatomy 0"
BRATS = "prepare brats images out --folds 2 --workers 1"
LGG = "prepare lgg images out --folds 2 --workers 1 --min_anatomy 0"
FOLDERS = "prepare folders images out --folds 2 --workers 1"
BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
DOCUMENTS: dict[str, bytes | str] = {
    "empty": "",
    "a number": "3",
    "a list": "[1, 2]",
    "not closed": '{"cases": [',
    "nested": "[" * 100_000,
    "latin-1": '{"id": "Käthe"}'.encode("latin-1"),
    "zeros": bytes(100),
    "a key twice": '{"cases": [], "cases": []}',
}
AS_YAML: dict[str, bytes | str] = {
    **DOCUMENTS,
    "aliases": BOMB,
    "itself": "cases: &a [*a]",
    "a date": "modalities: [A]\ncases: [{id: 2019-25-01, images: {A: a.nii}}]",
    "a tag": "cases: !!python/object/apply:os.getcwd []",
    "tabs": "cases:\n\t- a",
    "two documents": "a: 1\n---\nb: 2",
}

# Where in the list, and what stands there.
VALUES: tuple[tuple[tuple[str | int, ...], tuple[Any, ...]], ...] = (
    (("modalities",), (None, [], "A", ["A", "A"], ["C"], [["A"]], {"A": 1})),
    (("classes",), (None, [], {}, {"tumour": 1}, {"tumour": []}, {"tumour": ["1"]})),
    (("classes", "tumour"), ([0], [True], [1.5], [None], [5], [-1])),
    (("labels",), (3, ["1"], [0.5], {"a": 1})),
    (("cases",), (None, {}, [], "c0", [3], [[]], [{}])),
    (("other",), (1,)),
    (("cases", 0, "id"), (None, "", 7, True, [], "c1", "../c0", "a\nb")),
    (("cases", 0, "images"), (None, [], {}, "c0_A.nii.gz", {"A": "c0_A.nii.gz"})),
    (("cases", 0, "images", "A"), (None, "", 3, [], "none.nii", ".", "c0_B.nii.gz")),
    (("cases", 0, "mask"), (3, False, [], "none.nii", "c1_mask.nii.gz", "c0_A.nii.gz")),
    (("cases", 0, "patient"), (7, "", [], True)),
    (("cases", 0, "tags"), (["t.csv"], 3, {}, {"Tumour": 1}, {"tumour": 5})),
    (("cases", 0, "tags"), ({"tumour": [8]}, {"tumour": ["3-1"]}, {"tumour": [[1]]}, "none.csv")),
    (("cases", 0, "age"), (40,)),
)

OF_TASKS: tuple[tuple[tuple[str | int, ...], tuple[Any, ...]], ...] = (
    (("modality",), (None, [], {}, {"1": "T2"}, {"0": 3}, {"0": ""}, {"0": "T1", "1": "T2"})),
    (("labels",), (None, [], {}, {"one": "organ"}, {"1_0": "organ"}, {"-1": "organ"}, {"0": "a"})),
    (("training",), (None, {}, [], [3], [{}], [{"image": ""}], [{"image": 3, "label": "a"}])),
    (("training", 0, "image"), (None, "none.nii.gz", "labels/c0.nii.gz", "dataset.json")),
    (("training", 0, "label"), ("", 3, "none.nii.gz", "labels/c1.nii.gz")),
)

# What the list itself cannot tell: the message then names the file that does not fit.
ELSEWHERE = (
    "[5]",
    "{}",
    "{'0': ",
    "none.nii",
    "c0_A.nii.gz",
    "c0_B.nii.gz",
    "list.json",
    "none.csv",
    "dataset.json",
)


def of_values(
    example: str, command: str, file: str, values: Any, prefix: str = ""
) -> Iterator[Malformed]:
    """Yield an entry for each wrong value of a list."""
    for place, wrong in values:
        for value in wrong:
            where = ".".join(map(str, place))
            told = "" if str(value).startswith((*ELSEWHERE, ".", "labels/")) else file
            damage = partial(change(*place, value=value), Path(file))
            name = f"{prefix}{where} is {json.dumps(value)[:30]}"
            yield Malformed(name, example, command, told, damage)


def named(name: str, text: bytes | str) -> Callable[[], object]:
    """Return a function that writes a file."""
    return partial(put(text), Path(name))


def copy(source: str, target: str) -> Callable[[], object]:
    """Return a function that copies a file."""

    def damage() -> None:
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        Path(target).write_bytes(Path(source).read_bytes())

    return damage


def drop(pattern: str) -> Callable[[], object]:
    """Return a function that deletes files or folders."""
    return lambda: [remove(path) for path in Path().glob(pattern)]


def repaint(name: str) -> Callable[[], object]:
    """Return a function that replaces a picture by one of another size."""
    return lambda: picture(Path(name), 1)


CASE, SLICE = "images/case_0/case_0", "images/TCGA_0/TCGA_0_3"
T1, SEG, TIF, TIF_MASK = (
    f"{CASE}_t1.nii.gz",
    f"{CASE}_seg.nii.gz",
    f"{SLICE}.tif",
    f"{SLICE}_mask.tif",
)
PNG, TWICE = "images/normal/0.png", "images/HGG/case_0/case_0_t1.nii.gz"
OF_FOLDERS: dict[tuple[str, str], dict[str, tuple[str, Callable[[], object]]]] = {
    ("brats", BRATS): {
        "no file": ("images", drop("images/*")),
        "a modality is missing": ("case_0", drop(T1)),
        "a modality twice": ("case_0", copy(T1, f"{CASE}_t1.nii")),
        "a case twice": ("case_0", copy(T1, TWICE)),
        "a mask is missing": ("case_0", drop(SEG)),
        "a mask is an image": ("case_0_seg", copy(T1, SEG)),
    },
    ("lgg", LGG): {
        "a slice is missing": ("TCGA_0", drop(TIF)),
        "a slice of other size": ("TCGA_0", repaint(TIF)),
        "a mask is missing": ("TCGA_0", drop(TIF_MASK)),
        "a mask of other size": ("TCGA_0", repaint(TIF_MASK)),
        "a mask of many labels": ("TCGA_0", copy(TIF, TIF_MASK)),
    },
    ("folders", FOLDERS): {
        "only one": ("images", drop("images/lesion")),
        "no untagged one": ("images", lambda: Path("images/normal").rename("images/x")),
        "two untagged ones": ("images", copy(PNG, "images/healthy/a.png")),
        "a copy": ("same images", copy(PNG, "images/normal/9.png")),
        "of two classes": ("same images", copy(PNG, "images/lesion/9.png")),
        "a picture is text": ("0.png", named(PNG, "text")),
        "empty": ("images", drop("images/*")),
    },
    ("folders", "init none"): {"no folder": ("none", nothing)},
    ("folders", f"init {PNG}"): {"a file": ("0.png", nothing)},
    ("folders", "init empty"): {"empty": ("empty", lambda: Path("empty").mkdir())},
    ("folders", f"init images/normal --out {PNG}"): {"a file as output": ("0.png", nothing)},
    ("folders", "init images/normal --out /proc/x"): {"output nowhere": ("/proc", nothing)},
    ("folders", "check images/normal --workers 1"): {"no layout": ("images/normal", nothing)},
    ("pictures", "init ."): {"no image": ("tags.csv", named("tags.csv", "image,x\nnone.png,1\n"))},
}


WRONG = ("[-1]", "one", "[0.5]", "[]", "{a: 1}", "[true]")
BENCHMARKS: dict[str, str] = {
    "no store": BENCHMARK.replace("store: store", ""),
    "store is a list": BENCHMARK.replace("store: store", "store: [a]"),
    "store is none": BENCHMARK.replace("store: store", "store: none"),
    "no methods": BENCHMARK.partition("methods")[0],
    "methods are a list": BENCHMARK.partition("methods")[0] + "methods: [cam]",
    "a method is text": BENCHMARK.replace("{config: config.yaml}", "config.yaml"),
    "no config": BENCHMARK.replace("config.yaml", "none.yaml"),
    "config is a number": BENCHMARK.replace("config.yaml", "3"),
    "baseline is unknown": BENCHMARK.replace("zscore_threshold", "none"),
    "baseline is a list": BENCHMARK.replace("zscore_threshold", "[a]"),
    "both": BENCHMARK.replace("{baseline", "{config: config.yaml, baseline"),
    "an unknown key": BENCHMARK.replace("{config", "{colour: red, config"),
    "a name with a slash": BENCHMARK.replace("  cam:", "  a/b:"),
    "a name that leads out": BENCHMARK.replace("  cam:", "  ..:"),
    "after none": BENCHMARK.replace("config.yaml}", "config.yaml, after: none}"),
    "after a baseline": BENCHMARK.replace("config.yaml}", "config.yaml, after: threshold}"),
    "after itself": BENCHMARK.replace("config.yaml}", "config.yaml, after: cam}"),
    "overrides are text": BENCHMARK + "overrides: --data.fold=1",
    "overrides without dashes": BENCHMARK + "overrides: [data.fold=1]",
    "an override is out of range": BENCHMARK + "overrides: [--model.mask_ratio=7]",
    **{
        f"{key} {value}": f"{BENCHMARK}{key}: {value}"
        for key in ("seeds", "folds")
        for value in WRONG
    },
    "no such fold": BENCHMARK + "folds: [7]",
    "a seed too large": BENCHMARK + "seeds: [99999999999999]",
    "prepare is text": BENCHMARK + "prepare: brats",
    "prepare lacks a source": BENCHMARK + "prepare: {layout: brats}",
    "phantom lacks out": BENCHMARK + "phantom: {cases: 3}",
}


def entries() -> Iterator[Malformed]:
    """Yield all lists."""
    for name, text in DOCUMENTS.items():
        yield Malformed(f"json: {name}", "volumes", DATALIST, "list.json", named("list.json", text))
    for name, text in AS_YAML.items():
        command = DATALIST.replace("list.json", "list.yaml")
        yield Malformed(f"yaml: {name}", "volumes", command, "list.yaml", named("list.yaml", text))
        bench = named("bench.yaml", text)
        yield Malformed(f"yaml: {name}", "store", "benchmark bench.yaml", "bench.yaml", bench)
    yield from of_values("volumes", DATALIST, "list.json", VALUES)
    yield from of_values("decathlon", DECATHLON, "dataset.json", OF_TASKS)
    for name, damage in OF_ANY_FILE.items():
        file = Path("images/c0.nii.gz")
        yield Malformed(f"image: {name}", "decathlon", DECATHLON, "c0", partial(damage, file))
        yield Malformed(f"slice: {name}", "lgg", LGG, "TCGA_0", partial(damage, Path(TIF)))
    for (example, command), damages in OF_FOLDERS.items():
        for name, (told, spoil) in damages.items():
            yield Malformed(name, example, command, told, spoil)
    for name, text in BENCHMARKS.items():
        told = "" if "store is none" in name or "fold" in name or "override is" in name else "bench"
        yield Malformed(name, "store", "benchmark bench.yaml", told, named("bench.yaml", text))


ENTRIES = [*entries()]
