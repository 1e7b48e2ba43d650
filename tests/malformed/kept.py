"""Stores and checkpoints that somebody has changed, cut off, or copied in part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.malformed.damages import OF_ANY_FILE, Damage, change, cut, remove
from tests.malformed.entry import Malformed
from tests.malformed.examples import QUIET, SMALL

FIT = f"fit --data.root=store --trainer.default_root_dir=NEW {SMALL} {QUIET}"
CHECKPOINT = Path("RUN/last.ckpt")
PREDICT = "predict --ckpt_path RUN/last.ckpt --input images --output out"
# Commands that read a checkpoint.
READERS = {
    "predict": PREDICT,
    "export": "export RUN out",
    "report": "report RUN",
    "test": "test --config RUN/config.yaml --ckpt_path RUN/last.ckpt",
    "resume": "fit --config RUN/config.yaml --ckpt_path RUN/last.ckpt --trainer.max_epochs 2",
}


class Stranger:
    """Makes a folder where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.mkdir, (Path("harm"),)  # type: ignore[return-value]


def rewrite(edit: Callable[[dict[str, Any]], object]) -> None:
    """Change what a checkpoint holds."""
    content = torch.load(CHECKPOINT, weights_only=True)
    edit(content)
    torch.save(content, CHECKPOINT)


def weights(value: float) -> Callable[[dict[str, Any]], object]:
    """Return a function that changes one weight."""

    def edit(content: dict[str, Any]) -> None:
        first = next(iter(content["state_dict"].values()))
        first[(0,) * first.dim()] = value

    return edit


def within(*place: str, value: Any) -> Callable[[dict[str, Any]], object]:
    """Return a function that sets a value which lies under some keys."""

    def edit(content: dict[str, Any]) -> None:
        for key in place[:-1]:
            content = content[key]
        content[place[-1]] = value

    return edit


def without(*keys: str) -> Callable[[dict[str, Any]], object]:
    """Return a function that drops entries."""
    return lambda content: [content.pop(key) for key in keys]


def first_weight(change: Callable[[torch.Tensor], Any]) -> Callable[[dict[str, Any]], object]:
    """Return a function that replaces the first weight by another."""

    def edit(content: dict[str, Any]) -> None:
        name = next(iter(content["state_dict"]))
        content["state_dict"][name] = change(content["state_dict"][name])

    return edit


SPEC = ("hyper_parameters", "spec")
OF_CHECKPOINTS: dict[str, Callable[[dict[str, Any]], object]] = {
    "nan": weights(float("nan")),
    "infinite": weights(float("inf")),
    "no weights": within("state_dict", value={}),
    "weights are a list": within("state_dict", value=[]),
    "a weight is a number": first_weight(lambda _: 3),
    "a weight of other shape": first_weight(lambda old: old[:1]),
    "a weight of complex numbers": first_weight(lambda old: old.to(torch.complex64)),
    "a weight of whole numbers": first_weight(lambda old: old.to(torch.int64)),
    "no settings": without("hyper_parameters"),
    "settings are text": within("hyper_parameters", value="text"),
    "no class": without("class_path"),
    "a class of python": within("class_path", value="subprocess.Popen"),
    "no such class": within("class_path", value="wsseg.models.Nothing"),
    "no such module": within("class_path", value="wsseg.nothing.Nothing"),
    "a class that is a number": within("class_path", value=3),
    "spec is none": within(*SPEC, value=None),
    "spec is text": within(*SPEC, value="text"),
    "no modality": within(*SPEC, "modalities", value=[]),
    "more modalities": within(*SPEC, "modalities", value=["A", "B", "C"]),
    "no spec class": within(*SPEC, "classes", value={}),
    "labels are text": within(*SPEC, "classes", value={"tumour": ["one"]}),
    "no axis": within(*SPEC, "axis", value="oblique"),
    "spacing nan": within(*SPEC, "spacing", value=float("nan")),
    "spacing negative": within(*SPEC, "spacing", value=-1.0),
    "size 0": within(*SPEC, "size", value=[0, 0]),
    "size is a number": within(*SPEC, "size", value=3),
    "size enormous": within(*SPEC, "size", value=[10**9, 10**9]),
    "plan is text": within(*SPEC, "plan", value="text"),
    "an unknown plan": within(*SPEC, "plan", "normalisation", value="none"),
    "widths are text": within("hyper_parameters", "widths", value="wide"),
    "widths enormous": within("hyper_parameters", "widths", value=[10**7, 10**7]),
    "an instantiator": within("hyper_parameters", "_instantiator", value="os.system"),
}
OF_RESUMING: dict[str, Callable[[dict[str, Any]], object]] = {
    "no optimiser": without("optimizer_states"),
    "an optimiser of text": within("optimizer_states", value="text"),
    "no optimisers": within("optimizer_states", value=[]),
    "no schedule": without("lr_schedulers"),
    "no loops": without("loops"),
    "no step": without("global_step"),
    "no epoch": without("epoch"),
    "epoch is text": within("epoch", value="one"),
    "callbacks are text": within("callbacks", value="text"),
}


def array(edit: Callable[[np.ndarray], np.ndarray]) -> Damage:
    """Return a function that changes an array of a store."""
    return lambda path: np.save(path, edit(np.load(path)))


MANIFEST, SPLITS, IMAGES = (
    Path("store", name) for name in ("manifest.json", "splits.json", "images")
)
OF_FILES: dict[str, tuple[Path, Damage]] = {
    "no manifest": (MANIFEST, remove),
    "no splits": (SPLITS, remove),
    "no images": (IMAGES, remove),
    "an older format": (MANIFEST, change("format", value=1)),
    "a tag of 7": (MANIFEST, change("cases", 0, "tags", 0, value=[7])),
    "too few tags": (MANIFEST, change("cases", 0, "tags", value=[[1]])),
    "no spec": (MANIFEST, change("spec", drop=True)),
    "a case in two splits": (SPLITS, change("folds", 0, "val", value=["a"])),
    "an unknown case": (SPLITS, change("folds", 0, "val", value=["z"])),
    "nothing to train": (SPLITS, change("folds", 0, "train", value=[])),
    "no fold": (SPLITS, change("folds", value=[])),
    "a fold is text": (SPLITS, change("folds", 0, value="abc")),
    "a slice less": (IMAGES / "a.npy", array(lambda old: old[1:])),
    "another type": (IMAGES / "a.npy", array(lambda old: old.astype(int))),
    "objects": (IMAGES / "a.npy", array(lambda old: old.astype(object))),
    "an array cut off": (IMAGES / "a.npy", cut(0.99)),
}


def entries() -> Iterator[Malformed]:
    """Yield all stores and checkpoints."""
    for name, (path, damage) in OF_FILES.items():
        told = "store" if name in ("an older format", "nothing to train") else path.name
        yield Malformed(f"store: {name}", "store", FIT, told, partial(damage, path))
    for name, damage in OF_ANY_FILE.items():
        for reader in READERS if name in ("half", "text", "missing") else ("predict",):
            spoil = partial(damage, CHECKPOINT)
            yield Malformed(f"{reader}: {name}", "run", READERS[reader], "last.ckpt", spoil)
    yield Malformed(
        "code", "run", PREDICT, "last.ckpt", partial(rewrite, within("callbacks", value=Stranger()))
    )
    for name, edit in OF_CHECKPOINTS.items():
        yield Malformed(f"content: {name}", "run", PREDICT, "last.ckpt", partial(rewrite, edit))
    for name, edit in OF_RESUMING.items():
        resume = READERS["resume"]
        yield Malformed(f"resume: {name}", "run", resume, "last.ckpt", partial(rewrite, edit))


ENTRIES = [*entries()]
