"""Tables, lists, configurations, stores and checkpoints that were changed in the same two ways."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
import torch
import yaml
from hypothesis import strategies as st

from tests.checkpoints.test_loading import save_checkpoint
from tests.data.conftest import write_store
from tests.fuzz.mutations import TEXTS, Draw, changed_bytes, changed_tree
from tests.fuzz.running import SECONDS, fuzz, right_or_refused
from tests.malformed.examples import picture
from wsseg.benchmark.config import load_config
from wsseg.checkpoints.loading import load_module
from wsseg.cli.settings_check import main
from wsseg.data.layouts import find_cases
from wsseg.data.masked import masks_of
from wsseg.data.store import SliceStore
from wsseg.utils.documents import read_document
from wsseg.utils.errors import results

pytestmark = pytest.mark.filterwarnings("ignore")

ROWS = [["image", "mask", "patient", "lesion"]]
ROWS += [[f"{n}.png", "", f"p{n}", str(n % 2)] for n in range(3)]
LIST = {
    "modalities": ["A"],
    "classes": {"tumour": [1]},
    "cases": [
        {"id": f"c{n}", "images": {"A": f"{n}.png"}, "patient": f"p{n}", "tags": {"tumour": n % 2}}
        for n in range(3)
    ],
}
BENCHMARK = {
    "store": "store",
    "output": "out",
    "methods": {"cam": {"config": "config.yaml"}, "no": {"baseline": "zscore_threshold"}},
    "seeds": [0, 1],
    "overrides": ["--data.batch_size=4"],
}
CONFIGURATION = {
    "seed_everything": 0,
    "data": {"root": "store", "fold": 0, "batch_size": 4},
    "model": {"class_path": "CamModule", "init_args": {"widths": [2, 4], "mask_ratio": 0.1}},
    "clustering": {"n_clusters": 4, "warmup_epochs": 1},
    "trainer": {
        "max_epochs": 1,
        "accelerator": "cpu",
        "logger": False,
        "callbacks": [{"class_path": "ClusterReSupervision"}],
    },
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@st.composite
def changed_rows(draw: Draw) -> list[list[str]]:
    """Change cells and lines of a table."""
    rows = [row.copy() for row in ROWS]
    for _ in range(draw(st.integers(1, 3))):
        row = draw(st.sampled_from(rows))
        place = draw(st.integers(0, max(0, len(row) - 1)))
        kind = draw(st.sampled_from(("put", "put", "delete", "insert", "repeat")))
        text = draw(st.one_of(st.sampled_from((*TEXTS, "0-3", "2;1", "image:T1")), st.text()))
        if kind == "repeat":
            rows.insert(draw(st.integers(0, len(rows))), row.copy())
        elif kind == "delete":
            del row[place : place + 1]
        else:
            row[place : place + (kind == "put")] = [text]
    return rows


def as_csv(rows: list[list[str]]) -> bytes:
    return "\n".join(map(",".join, rows)).encode(errors="surrogatepass")


def as_yaml(content: Any) -> bytes:
    return yaml.safe_dump(content, allow_unicode=True, sort_keys=False).encode()


def as_json(content: Any) -> bytes:
    return json.dumps(content).encode()


def workbook() -> bytes:
    book, stream = openpyxl.Workbook(), io.BytesIO()
    for row in ROWS:
        book.worksheets[0].append(row)
    book.save(stream)
    return stream.getvalue()


TABLES = {
    "tags.csv": st.one_of(changed_rows().map(as_csv), changed_bytes([as_csv(ROWS)])),
    "tags.xlsx": changed_bytes([workbook()]),
    "list.yaml": st.one_of(changed_tree(LIST).map(as_yaml), changed_bytes([as_yaml(LIST)])),
    "list.json": st.one_of(changed_tree(LIST).map(as_json), changed_bytes([as_json(LIST)])),
}
KEPT: dict[str, Sequence[bytes]] = {}


@pytest.mark.parametrize("name", list(TABLES))
def test_a_table_or_a_list_of_cases(here: Path, name: str) -> None:
    for number in range(3):
        picture(here / f"{number}.png", number)
    layout = "table" if name.startswith("tags") else "datalist"

    def read(path: Path) -> Any:
        found = find_cases(layout, path)
        results(found.faults)
        return found

    def check(content: bytes) -> None:
        (here / name).write_bytes(content)
        found = right_or_refused(partial(read, here / name), here)
        if found is not None:
            assert found.cases
            assert len({case.id for case in found.cases}) == len(found.cases)

    fuzz(TABLES[name], check, KEPT.get(name, ()))


DOCUMENTS = {
    "bench.yaml": (BENCHMARK, load_config),
    "config.yaml": (CONFIGURATION, read_document),
}
KEPT["bench.yaml"] = [
    as_yaml({**BENCHMARK, "methods": {"a\nb": {"baseline": "zscore_threshold"}}}),
    as_yaml({**BENCHMARK, "methods": {"a": {"config": "b\nc"}}}),
    as_yaml({**BENCHMARK, "methods": {"a": {"config": "config.yaml", "after": "b\nc"}}}),
]


@pytest.mark.parametrize("name", list(DOCUMENTS))
def test_a_document(here: Path, name: str) -> None:
    tree, read = DOCUMENTS[name]
    (here / "config.yaml").write_text("trainer: {}")

    def check(content: bytes) -> None:
        (here / name).write_bytes(content)
        right_or_refused(partial(read, here / name), name)

    inputs = st.one_of(changed_tree(tree).map(as_yaml), changed_bytes([as_yaml(tree)]))
    fuzz(inputs, check, KEPT.get(name, ()))


@pytest.mark.skipif(not SECONDS, reason="takes a second for each input; see tests/README.md")
def test_a_configuration_of_a_training(here: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_store(here / "store", size=16)
    before = sorted(here.rglob("*"))

    def check(tree: Any) -> None:
        (here / "config.yaml").write_bytes(as_yaml(tree))
        given = ["fit", "--config=config.yaml", "--trainer.default_root_dir=RUN"]
        right_or_refused(lambda: main(given), "")
        (here / "config.yaml").unlink()
        assert sorted(here.rglob("*")) == before
        said = [line for line in capfd.readouterr().err.splitlines() if "warning:" not in line]
        assert len(said) <= 1, said

    kept = [CONFIGURATION | {"seed_everything": None}]
    fuzz(changed_tree(CONFIGURATION), check, kept)


def test_a_store(tmp_path: Path) -> None:
    good, root = write_store(tmp_path / "good", size=16), tmp_path / "store"
    names = ["manifest.json", "splits.json", "images/a.npy", "valid/b.npy", "masks/c.npy"]
    seeds = {name: (good / name).read_bytes() for name in names}
    trees = [
        st.tuples(st.just(name), changed_tree(json.loads(seeds[name])).map(as_json))
        for name in names[:2]
    ]
    inputs = st.one_of(
        *trees, *(st.tuples(st.just(n), changed_bytes([seed])) for n, seed in seeds.items())
    )

    def read() -> None:
        store = SliceStore(root)
        store.split(0)
        masks = masks_of(store)
        for case in store.cases:
            assert np.isfinite(store.images[case]).all()
            masks[case]

    def check(found: tuple[str, bytes]) -> None:
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(good, root)
        (root / found[0]).write_bytes(found[1])
        right_or_refused(read, root)

    array = seeds["images/a.npy"]
    fuzz(inputs, check, [("images/a.npy", array[:70] + array[:58] + array[70:])])


def test_a_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path)
    seed, content = path.read_bytes(), torch.load(path, weights_only=True)

    def check(found: Any) -> None:
        if isinstance(found, bytes):
            path.write_bytes(found)
        else:
            torch.save(found, path)
        module = right_or_refused(lambda: load_module(path), path)
        if module is not None:
            with torch.no_grad():
                given = torch.zeros(1, 2, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool)
                assert torch.isfinite(module(*given)).all()

    fuzz(st.one_of(changed_tree(content), changed_bytes([seed])), check, [seed[1:]])
