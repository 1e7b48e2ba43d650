"""Options of the command line, and YAML configurations, with values that cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from tests.malformed.damages import put
from tests.malformed.entry import Malformed
from tests.malformed.examples import QUIET, SMALL
from tests.malformed.lists import AS_YAML

PREPARE = "prepare datalist list.json out --folds 2 --workers 1 --min_anatomy 0"
FIT = f"fit --data.root=store --trainer.default_root_dir=RUN {SMALL} {QUIET}"
CLUSTERING = " --trainer.callbacks=ClusterReSupervision"

OF_PREPARE: dict[str, tuple[str, ...]] = {
    "spacing": ("0", "-1", "nan", "inf", "1e-9", "1e30", "wide", "[1,1]", "true"),
    "size": ("[16]", "[0,16]", "[17,16]", "[-16,16]", "16", "[16,16,16]", "[160000,160000]", "a"),
    "window": ("[5]", "[5,5]", "[5,1]", "[nan,1]", "[-inf,inf]", "wide"),
    "normalisation": ("none", "3", "[zscore]"),
    "body": ("none", "nonzer"),
    "axis": ("oblique", "x", "0"),
    "longest_side": ("0", "-1", "1.5", "1000000000"),
    "slice_step": ("0", "-1", "1.5", "all"),
    "min_anatomy": ("-0.1", "1", "nan", "inf", "half", "0.999"),
    "folds": ("0", "1", "-1", "5", "1000000000", "2.5"),
    "val_fraction": ("-0.1", "1", "nan", "half"),
    "seed": ("-1", "0.5", "one"),
    "workers": ("0", "-1", "0.5"),
    "modalities": ("[]", "[A,A]", "[C]", "{A: 1}"),
    "classes": ("{}", "[1]", "{tumour: []}", "{tumour: [0]}", "{tumour: [9]}", "{tumour: one}"),
    "symmetric": ("perhaps", "2"),
    "comparable": ("perhaps",),
    "overwrite": ("perhaps",),
    "spaceing": ("1",),
    "spac": ("1",),
}

OF_FIT: dict[str, tuple[str, ...]] = {
    "data.root": ("none", "config.yaml", "."),
    "data.fold": ("-1", "1", "first"),
    "data.batch_size": ("0", "-4", "1.5"),
    "data.num_workers": ("-1",),
    "seed_everything": ("-1", "99999999999999", "now"),
    "model": ("NoSuchModel", "torch.nn.Linear", "3"),
    "model.encoder": ("none", "3"),
    "model.widths": ("[]", "[0,8]", "[-4]", "3", "[a]", "[2,2,2,2,2,2,2,2]"),
    "model.mask_ratio": ("7", "-1", "nan"),
    "model.cluster_weight": ("-1", "nan", "inf"),
    "model.optimisation.lr": ("-1", "nan", "inf", "fast"),
    "model.optimisation.teacher_decay": ("1", "2", "-0.1", "nan"),
    "model.finishing.smallest_component": ("1.1", "nan"),
    "model.unknown": ("1",),
    "trainer.max_epochs": ("-7", "many", "1.5"),
    "trainer.devices": ("-7", "0", "x"),
    "trainer.accelerator": ("abacus",),
    "trainer.precision": ("7",),
    "trainer.callbacks": ("NoSuchCallback", "3"),
    "trainer.max_epoch": ("3",),
    "ckpt_path": ("none.ckpt", "best", "http://127.0.0.1/a.ckpt", "store/manifest.json", "."),
    "nonsense": ("3",),
}
OF_CLUSTERING: dict[str, tuple[str, ...]] = {
    "clustering.n_clusters": ("0", "1.5", "40000"),
    "clustering.smoothing": ("nan", "-1"),
    "clustering.every_n_epochs": ("0",),
    "clustering.warmup_epochs": ("-1",),
    "clustering.scorer": ("NoSuchScorer",),
    "clustering.views": ("[NoSuchView]",),
    "clustering.backend": ("abacus",),
}
OF_PREDICT: dict[str, tuple[str, ...]] = {
    "threshold": ("1", "-0.1", "nan", "inf", "high"),
    "refinement": ("-1", "nan", "inf"),
    "smallest_component": ("2", "-1", "nan"),
    "batch_size": ("0", "-1", "1.5"),
    "device": ("abacus", "cuda:99", "cuda:-1"),
    "layout": ("none", "table", "datalist"),
    "input": ("none", "RUN", "config.yaml", "RUN/last.ckpt", "empty"),
    "output": ("config.yaml", "/proc/none", "images/c0/c0_t1.nii.gz"),
    "dicom_seg": ("true", "perhaps"),
    "inputs": ("images",),
}
CONFIGURATIONS: dict[str, str] = {
    "an unknown section": "dta: {root: store}",
    "an unknown option": "model: {class_path: CamModule, init_args: {width: [2, 4]}}",
    "an option of another class": "model: {class_path: CamModule, init_args: {pixel_weight: 1}}",
    "no such class": "model: {class_path: NoSuchModel}",
    "a class of somebody else": "model: {class_path: subprocess.Popen}",
    "text for a number": "trainer: {max_epochs: many}",
    "a date": "seed_everything: 2019-25-01",
    "data is text": "data: store",
    "root is a list": "data: {root: [store]}",
    "a callback is text": "trainer: {callbacks: [3]}",
    "optimisation is text": "model: {class_path: CamModule, init_args: {optimisation: fast}}",
    "clustering without callback": "clustering: {n_clusters: 4}",
    "another configuration": "store: store\noutput: out\nmethods: {}",
}


def of_options(
    example: str, command: str, options: dict[str, tuple[str, ...]], elsewhere: tuple[str, ...] = ()
) -> Iterator[Malformed]:
    """Yield an entry for each wrong value of an option, which the message must name."""
    for option, values in options.items():
        for value in values:
            told = "" if option in elsewhere else option.rpartition(".")[2]
            name = f"--{option} {value}"
            yield Malformed(
                name, example, f"{command} --{option}={value!r}".replace("'", '"'), told
            )


def entries() -> Iterator[Malformed]:
    """Yield all options and configurations."""
    # What does not fit the data is named by the file of the data.
    of_data = ("folds", "modalities", "classes", "min_anatomy")
    yield from of_options("volumes", PREPARE, OF_PREPARE, of_data)
    named_by_value = ("data.root", "data.fold", "model", "trainer.callbacks", "trainer.devices")
    yield from of_options(
        "store", FIT, OF_FIT, (*named_by_value, "trainer.accelerator", "ckpt_path")
    )
    yield from of_options("store", FIT + CLUSTERING, OF_CLUSTERING)
    predict = "predict --ckpt_path RUN/last.ckpt --input images --output out"
    yield from of_options("run", predict, OF_PREDICT, ("layout", "input", "output", "device"))
    configured = "fit --config bad.yaml --data.root store --trainer.default_root_dir RUN"
    for name, text in CONFIGURATIONS.items():
        damage = partial(put(text), Path("bad.yaml"))
        yield Malformed(f"config: {name}", "store", configured, "", damage)
    for name, text in AS_YAML.items():
        damage = partial(put(text), Path("bad.yaml"))
        if name != "empty":
            yield Malformed(f"config is {name}", "store", configured, "bad.yaml", damage)
    for words, told in OTHERS.items():
        yield Malformed(words.replace(" ", "_"), "store", words, told)


OTHERS = {
    "train": "train",
    "prepare": "layout",
    "prepare table": "source",
    "prepare brats none out": "none",
    "prepare bratz store out": "layout",
    "prepare datalist . out": ".",
    "prepare table config.yaml out": "config.yaml",
    "prepare decathlon store out": "store",
    "prepare lgg store out": "store",
    "prepare brats store out": "store",
    "prepare folders store out": "store",
    "prepare table none.csv config.yaml": "none.csv",
    "check": "source",
    "check none": "none",
    "check config.yaml": "config.yaml",
    "init": "root",
    "fit": "data.root",
    "fit --config none.yaml": "none.yaml",
    "fit --config store": "store",
    "fit --data.root": "data.root",
    "test --data.root store": "ckpt_path",
    "predict": "ckpt_path",
    "predict --ckpt_path none.ckpt --input store --output out": "none.ckpt",
    "predict --ckpt_path . --input store --output out": ".",
    "report": "run",
    "report none": "none",
    "report store": "store",
    "report config.yaml": "config.yaml",
    "export": "checkpoint",
    "export none out": "none",
    "export store out": "last.ckpt",
    "export config.yaml out": "config.yaml",
    "benchmark": "experiment",
    "benchmark none.yaml": "none.yaml",
    "benchmark store": "store",
    "benchmark bench.yaml --report_only perhaps": "report_only",
    "benchmark bench.yaml --report_only true": "out",
    "phantom": "out",
    "phantom out --cases 0": "cases",
    "phantom out --cases many": "cases",
    "phantom out --patients 3": "patients",
}
ENTRIES = [*entries()]
