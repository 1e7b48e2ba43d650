"""The page: what it holds of a whole run, and what it says of what a run lacks."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch

from wsseg.checkpoints.origin import code_version
from wsseg.cli import main
from wsseg.data import store_files
from wsseg.evaluation.suspicious_tags import SuspiciousTag, write_suspicious
from wsseg.prediction.findings import Finding, write_findings
from wsseg.prediction.output import TABLE
from wsseg.report import report
from wsseg.report.map_sheets import sheet_files
from wsseg.utils.errors import InputError
from wsseg.visualisation.sheet import save_png

VOID = {"meta", "img", "br", "hr", "input", "link"}
SECTIONS = ["data", "curves", "clusters", "maps", "cases", "card"]


class Reader(HTMLParser):
    """Reads a page, and checks that each element is closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [found["id"] or ""] if "id" in found else []
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    """A copy of the run that a test may damage; its store stays where it is."""
    return Path(shutil.copytree(run, tmp_path / "copy"))


def read(path: Path) -> Reader:
    return Reader(path.read_text(encoding="utf-8"))


def test_a_page_needs_nothing_but_itself(run: Path, tmp_path: Path) -> None:
    path = report(run, output=tmp_path / "out" / "page.html")
    text = path.read_text(encoding="utf-8")
    page = Reader(text)
    inside = tuple(f"#{name}" for name in page.ids)
    for address in page.addresses:
        assert address.startswith("data:image/webp;base64,") or address in inside, address[:80]
    assert not re.search(r"@import|url\((?!#)|<script|https?://(?!www\.w3\.org/)", text)
    assert path.stat().st_size < 2e6
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


def test_a_whole_run_lacks_nothing(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run)]) == 0
    assert f"report: {run / 'report.html'}" in capsys.readouterr().out
    page = read(run / "report.html")
    for expected in (
        "täst <run>: tumour",
        "Splits cases for",
        "Tags that look wrong",
        "Losses",
        "Learning rate",
        "has formed 2 clusterings of 4 clusters each",
        "Best:",
        "Worst:",
        "Masks were learned from tags",
        "seed 0",
        "training cases, SHA-256",
        f"trained with wsseg {code_version()}, Lightning",
        "This has trained it: wsseg fit --data.root=",
        "'" + str(run / "config.yaml") + "'",  # quoted for a shell, since it holds a space
    ):
        assert expected in page.text, expected
    assert 'class="note"' not in re.sub(
        r'<p class="note">`tumour`.*?</p>', "", (run / "report.html").read_text()
    )
    scores = json.loads((run / "metrics.json").read_text())["tumour"]["dice"]
    assert f"Dice of tumour {scores['mean']:.3f}" in page.text


def test_the_same_run_makes_the_same_page(run: Path, tmp_path: Path) -> None:
    pages = [report(run, output=tmp_path / f"{n}.html").read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


def test_maps_of_all_refreshes_are_shown(run: Path) -> None:
    text = report(run).read_text()
    assert text.count("for epoch 2</figcaption>") == text.count("for epoch 3</figcaption>") == 4


def test_tags_that_look_wrong_are_shown(copy: Path) -> None:
    rows = [
        SuspiciousTag("a", 11, "tumour", 1, 0.1, 1.5),
        SuspiciousTag("<x>", 3, "tumour", 0, 1, 1),
    ]
    write_suspicious(rows, copy)
    pictures = read(report(copy)).text
    assert "2 tags of training are contradicted" in pictures
    assert "a, slice 11: tagged tumour, but probability 0.10 (doubt 1.50)" in pictures
    assert "<x>, slice 3: not tagged tumour" in pictures, "the store does not hold it"
    (copy / "suspicious_tags.csv").unlink()
    assert "look wrong" not in read(report(copy)).text


def test_predictions_of_new_images_are_shown_the_least_sure_first(
    copy: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    found = Finding("sure", "tumour", 1, 12.5, "ml", 1, 0.9)
    unsure, none = found._replace(case="<b>", confidence=0.2), found._replace(case="none", size=0)
    write_findings(
        [found, none._replace(confidence=None, note="nothing found"), unsure], out / TABLE
    )
    save_png(np.zeros((8, 8, 3), np.uint8), out / "pictures/<b>.png")
    page = read(report(copy, predictions=out))
    assert "has found in 3 cases of" in page.text
    assert "1 of 3 cases has no tumour: none" in page.text
    places = [
        page.text.index(each) for each in ("<b> tumour 12.5 ml 1 0.20", "sure tumour", "none t")
    ]
    assert places == sorted(places)
    (out / TABLE).write_text("case,class\nann,cyst\n")
    with pytest.raises(InputError, match="is no table that `wsseg predict` has written"):
        report(copy, predictions=out)
    write_findings([found._replace(class_name="cyst")], out / TABLE)
    with pytest.raises(InputError, match="holds masks of cyst, which this run did not learn"):
        report(copy, predictions=out)
    with pytest.raises(InputError, match=r"holds no cases\.csv; give the folder"):
        report(copy, predictions=tmp_path)


def test_without_scores_no_mask_is_opened(
    copy: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "metrics.json").unlink()
    opened = watch(monkeypatch)
    page = read(report(copy))
    assert "Nothing was scored yet" in page.text
    assert f"wsseg test --config {copy / 'config.yaml'}" in page.text
    assert "without their true masks" in page.text
    assert "true tumour" not in page.text
    assert not any("masks" in name for name in opened)


def test_true_masks_of_training_are_never_opened(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = watch(monkeypatch)
    report(run)
    masks = {Path(name).stem for name in opened if "/masks/" in name}
    assert masks == {"f", "g"}


def watch(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note which arrays of a store are opened."""
    opened: list[str] = []
    inner = store_files._map_array

    def noted(path: Path) -> object:
        opened.append(str(path))
        return inner(path)

    monkeypatch.setattr(store_files, "_map_array", noted)
    store_files.ArrayFolder._open.clear()
    return opened


def test_cases_that_were_trained_on_are_not_held_out(copy: Path, run: Path, tmp_path: Path) -> None:
    store = Path(shutil.copytree(run.parent / "store", tmp_path / "store"))
    splits = {"train": ["c", "d", "e", "f", "g"], "val": ["a"], "test": ["b"]}
    (store / "splits.json").write_text(json.dumps({"seed": 0, "folds": [splits]}))
    page = read(report(copy, store=store))
    assert "this run was trained on 2 of the cases that it now holds out, such as a" in page.text
    assert "There are no pictures." in page.text


def test_a_script_leaves_less(of_a_script: tuple[Path, Path]) -> None:
    run, store = of_a_script
    page = read(report(run))
    for expected in (
        "add --store STORE if it is somewhere else",
        "There is no log at",
        "trained without ClusterReSupervision",
        "Nothing was scored yet",
        "the settings are not known: a script has trained",
    ):
        assert expected in page.text, expected
    page = read(report(run, store=store))
    assert "This one was drawn from the checkpoint" in page.text
    assert "without their true masks" in page.text
    assert not {"Best:", "Worst:"} & set(page.words)


def test_a_store_that_is_gone_is_said(copy: Path) -> None:
    config = copy / "config.yaml"
    config.write_text(re.sub(r"root: .*/store", "root: /nowhere/store", config.read_text()))
    page = read(report(copy))
    assert "The store cannot be read (/nowhere/store" in page.text
    assert "There are no pictures of clusters." in page.text
    assert "relevance" in page.text  # their numbers are in the checkpoint


def test_checkpoints_without_a_table_are_said(copy: Path) -> None:
    content = torch.load(copy / "last.ckpt", weights_only=True)
    del content["callbacks"]["ClusterReSupervision"]["table"]
    del content["callbacks"]["MapHistory"]
    torch.save(content, copy / "last.ckpt")
    page = read(report(copy))
    assert "an earlier version of wsseg wrote it" in page.text
    assert "for epoch" not in page.text


def test_damaged_parts_do_not_stop_the_rest(copy: Path) -> None:
    (copy / "per_case.csv").write_text("case,class\nf,tumour\n")
    (copy / "logs" / "metrics.csv").write_text("step,epoch,train/loss\n1,0,nan\n2,x,0.4\n3,1,0.")
    sheet_files(copy)[0].write_bytes(b"no picture")
    page = read(report(copy))
    assert "Nothing was scored yet" in page.text
    assert "Losses" in page.text


def empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda folder: folder / "nowhere", "does not exist; give the folder of a run"),
        (file, "is a file; give the folder of a run"),
        (empty, "holds no last.ckpt"),
    ],
)
def test_what_is_no_run_is_refused(
    make: Callable[[Path], Path], problem: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=problem):
        report(make(tmp_path))


def test_other_stores_and_outputs_are_refused(
    run: Path, of_a_script: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="is a folder; name a file"):
        report(run, output=tmp_path)
    manifest = shutil.copytree(of_a_script[1], tmp_path / "store") / "manifest.json"
    manifest.write_text(manifest.read_text().replace("tumour", "cyst"))
    with pytest.raises(InputError, match="holds other images than this run was trained on"):
        report(run, store=tmp_path / "store")
    with pytest.raises(InputError, match="nowhere"):
        report(run, store=tmp_path / "nowhere")


def test_an_interrupted_report_leaves_the_last_one(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (copy / "report.html").write_text("the last one")
    monkeypatch.setattr("wsseg.report.command.render", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report(copy)
    assert (copy / "report.html").read_text() == "the last one"
