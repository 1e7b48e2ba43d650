"""``--clustering.*`` and ``clustering:`` set the options of the callback."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.test_cli import QUICKSTART, REPOSITORY, SMALL
from tests.data.conftest import write_store
from wsseg.cli import main

SHORT = ["--trainer.max_epochs=1", "--clustering.n_clusterings=1", "--clustering.warmup_epochs=0"]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "store", size=16)


def fit(store: Path, *more: str) -> int:
    where = [f"--data.root={store}", f"--trainer.default_root_dir={store.parent / 'RUN'}"]
    return main(["fit", *where, *SMALL, *more])


def saved(store: Path) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load((store.parent / "RUN" / "config.yaml").read_text())
    assert "clustering" not in config, "each value stands in one place"
    options: dict[str, Any] = config["trainer"]["callbacks"][0]["init_args"]
    return options


def test_short_options_override_those_of_a_file_and_leave_the_others(store: Path) -> None:
    short = [*SHORT, "--clustering.n_clusters=4", "--clustering.views=[Deviation]"]
    scorer = ["--clustering.scorer=EvidenceScorer", "--clustering.scorer.high=0.3"]
    last = "--trainer.callbacks+=OverlayLogger"  # the callback need not be the last one
    assert fit(store, f"--config={QUICKSTART}", last, *short, *scorer) == 0
    options = saved(store)
    assert (options["warmup_epochs"], options["every_n_epochs"]) == (0, 4)
    assert options["clustering"]["n_clusters"] == 4
    assert options["clustering"]["iterations"] == 20
    assert options["scorer"]["init_args"]["high"] == 0.3
    assert options["views"] == [{"class_path": "wsseg.clustering.Deviation"}]


def test_they_change_the_settings_of_an_old_run(store: Path) -> None:
    path = store.parent / "config.yaml"
    callback = {"class_path": "ClusterReSupervision", "init_args": {"every_n_epochs": 3}}
    path.write_text(yaml.safe_dump({"trainer": {"callbacks": [callback]}}))
    assert fit(store, f"--config={path}", *SHORT, "--clustering.n_clusters=5") == 0
    options = saved(store)
    assert (options["every_n_epochs"], options["clustering"]["n_clusters"]) == (3, 5)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--trainer.callbacks.warmup_epochs=1"],
            "error: --trainer.callbacks.warmup_epochs: is also set as clustering.warmup_epochs; "
            "give --clustering.warmup_epochs alone",
        ),
        (
            [f"--config={REPOSITORY / 'experiments/plain_cam.yaml'}", "--trainer.callbacks=null"],
            "error: --clustering.warmup_epochs: the configuration has no callback "
            "ClusterReSupervision; leave the option out",
        ),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    store: Path, capsys: pytest.CaptureFixture[str], more: list[str], message: str
) -> None:
    assert fit(store, f"--config={QUICKSTART}", *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (store.parent / "RUN").exists()


def test_the_help_explains_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fit", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "--clustering.n_clusters N_CLUSTERS Number of clusters of each clustering (K)." in shown
    assert "--clustering.warmup_epochs WARMUP_EPOCHS Epochs before the first maps" in shown
    assert "(default: 64)" in shown
