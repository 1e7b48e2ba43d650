"""A method that comes after another one."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.benchmark.conftest import Child
from wsseg.benchmark import benchmark, overview
from wsseg.benchmark.config import load_config
from wsseg.benchmark.runs import plan
from wsseg.utils.errors import InputError


@pytest.fixture
def chain(config: Path) -> Path:
    """The tiny benchmark, with a method `masks` after `crs`."""
    path = config.parent / "second.yaml"
    path.write_text("trainer: {}\n")
    change(config, masks={"config": str(path), "after": "crs"})
    return config


def change(config: Path, **methods: dict[str, Any]) -> None:
    plain = yaml.safe_load(config.read_text())
    plain["methods"] |= methods
    config.write_text(yaml.safe_dump(plain, sort_keys=False))


def test_it_gets_the_checkpoint_of_its_own_fold_and_seed(
    chain: Path, child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    change(chain, ceiling={"config": str(chain.parent / "second.yaml")})
    out = benchmark(chain)
    assert f"--ckpt_path {out}/masks/fold0-seed1/last.ckpt" in capsys.readouterr().out
    fits = [call for call in child.calls if call[0] == "fit"]
    assert len(fits) == 6
    for seed, (first, second) in enumerate((fits[:2], fits[3:5])):
        given = f"--model.targets.checkpoint={out}/crs/fold0-seed{seed}/last.ckpt"
        assert given in second
        assert not [part for part in first if "targets" in part]
    with (out / "results.csv").open() as file:
        assert {"crs", "masks"} <= {row["method"] for row in csv.DictReader(file)}
    assert (out / "overview.png").is_file()


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The columns of every overview."""
    found: list[list[str]] = []
    draw = overview.contact_sheet
    spy = lambda rows, columns, *more, **named: (  # noqa: E731
        found.append(list(columns)) or draw(rows, columns, *more, **named)
    )
    monkeypatch.setattr(overview, "contact_sheet", spy)
    return found


def test_the_overview_shows_networks_of_every_kind(
    chain: Path, child: Child, drawn: list[list[str]]
) -> None:
    """With clusters, without embeddings, and one whose maps need gradients."""
    (chain.parent / "grad.yaml").write_text("trainer: {}\n")
    change(chain, explained={"config": str(chain.parent / "grad.yaml")})
    benchmark(chain)
    shown = [name for name in drawn[0] if ":" in name]
    first = ["crs: CAM", "crs: clusters", "crs: mask", "masks: probability", "masks: mask"]
    assert shown == [*first, "explained: probability", "explained: mask"]


def test_the_overview_of_many_methods_shows_masks_only(
    chain: Path, child: Child, drawn: list[list[str]]
) -> None:
    names = [f"more{number}" for number in range(overview.MANY_METHODS)]
    change(chain, **{name: {"config": str(chain.parent / "crs.yaml")} for name in names})
    benchmark(chain)
    assert drawn[0][-len(names) - 3 :] == ["crs", "masks", *names, "truth"]


def test_its_seconds_are_those_of_both(chain: Path, child: Child) -> None:
    benchmark(chain)
    runs = {run.method.name: run for run in plan(load_config(chain)) if run.seed == 0}
    own = float(runs["masks"]._record()["seconds"])
    assert runs["masks"].seconds == own + runs["crs"].seconds > own


def test_it_goes_on_where_it_stopped(chain: Path, child: Child) -> None:
    benchmark(chain)
    count = len(child.calls)
    (chain.parent / "out" / "masks" / "fold0-seed1" / "metrics.json").unlink()
    benchmark(chain)
    assert [call[0] for call in child.calls[count:]] == ["fit", "test"]


def test_it_waits_for_a_first_stage_that_failed(
    chain: Path, child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    child.fail = lambda arguments: (
        "--seed_everything=0" in arguments and not any("targets" in part for part in arguments)
    )
    with pytest.raises(SystemExit):
        benchmark(chain)
    printed = " ".join(capsys.readouterr().out.split())
    assert "2 of 8 runs failed" in printed
    assert "since crs, fold 0, seed 0 did not finish" in printed
    child.fail = lambda _: False
    benchmark(chain)
    assert (chain.parent / "out" / "masks" / "fold0-seed0" / "metrics.json").is_file()


def test_a_checkpoint_that_somebody_removed_is_named(
    chain: Path, child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    out = benchmark(chain)
    (out / "crs" / "fold0-seed0" / "last.ckpt").unlink()
    (out / "masks" / "fold0-seed0" / "metrics.json").unlink()
    with pytest.raises(SystemExit):
        benchmark(chain)
    printed = " ".join(capsys.readouterr().out.split())
    assert "did not finish" not in printed
    advice = f"remove {out}/crs/fold0-seed0 to train crs, fold 0, seed 0 again"
    assert f"does not exist; {advice}" in printed


def test_results_after_another_first_stage_are_refused(chain: Path, child: Child) -> None:
    benchmark(chain)
    crs = yaml.safe_load(chain.read_text())["methods"]["crs"]
    change(chain, crs={**crs, "overrides": ["--model.mask_ratio=0.2"]})
    shutil.rmtree(chain.parent / "out" / "crs")
    with pytest.raises(InputError, match=r"out/masks/fold0-seed0: holds results of other"):
        benchmark(chain)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        (
            {"masks": {"after": "csr"}},
            "`after: csr` is not one of the methods; choose one of crs, cl",
        ),
        ({"masks": {"after": "masks"}}, "`after: masks` comes later in the file"),
        ({"masks": {"after": "later"}, "later": {}}, "`after: later` comes later in the file"),
        ({"a": {"after": "b"}, "b": {"after": "a"}}, "`after: b` comes later in the file"),
        ({"masks": {"after": "threshold"}}, "`after: threshold` is a baseline"),
        ({"masks": {"aftr": "crs"}}, "unknown key 'aftr'"),
    ],
)
def test_refuses(config: Path, methods: dict[str, dict[str, str]], message: str) -> None:
    stage = {"config": str(config.parent / "crs.yaml")}
    change(config, **{name: stage | block for name, block in methods.items()})
    with pytest.raises(InputError, match=message):
        load_config(config)


def test_a_baseline_comes_after_nothing(config: Path) -> None:
    change(config, fixed={"baseline": "zscore_threshold", "after": "crs"})
    with pytest.raises(InputError, match="is a baseline and takes no other key"):
        load_config(config)
