"""What a benchmark's file may say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from wsseg.benchmark.config import load_config
from wsseg.utils.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = sorted(
    path
    for path in (REPOSITORY / "experiments").rglob("*.yaml")
    if "methods" in yaml.safe_load(path.read_text())
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_benchmarks_can_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    settings = load_config(path)
    assert settings.prepare is not None
    assert Path(settings.prepare["out"]) == settings.store
    assert "crs" in {method.name for method in settings.methods}


def test_overrides_of_a_method_follow_those_of_all(tmp_path: Path) -> None:
    config = tmp_path / "fit.yaml"
    config.write_text("")
    methods = {
        "a": {"config": str(config)},
        "b": {"config": str(config), "overrides": ["--trainer.max_epochs=2"]},
        "c": {"baseline": "zscore_threshold"},
    }
    common = ["--trainer.max_epochs=1", "--trainer.precision=bf16-mixed"]
    path = tmp_path / "benchmark.yaml"
    plain = {"store": "s", "output": "o", "overrides": common, "methods": methods}
    path.write_text(yaml.safe_dump(plain))
    found = [method.overrides for method in load_config(path).methods]
    assert found == [tuple(common), (*common, "--trainer.max_epochs=2"), ()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stroe": "x"}, "unknown key 'stroe'"),
        ({"store": None}, "`store` is missing"),
        ({"methods": []}, "`methods` is missing"),
        ({"methods": ["crs"]}, "`methods` is not a mapping"),
        ({"methods": {"a": {}}}, "method `a` needs exactly one of `config` and `baseline`"),
        ({"methods": {"a/b": {"baseline": "zscore_threshold"}}}, "cannot name a folder"),
        (
            {"methods": {"a": {"baseline": "magic"}}},
            "method `a` has an unknown baseline; choose one of",
        ),
        ({"methods": {"a": {"config": "none.yaml"}}}, "none.yaml does not exist"),
        ({"methods": {"a": {"config": None}}}, "method `a`: None does not exist"),
        ({"seeds": ["x"]}, "`seeds` must be whole numbers"),
        ({"folds": [-1]}, "`folds` must be whole numbers"),
        ({"prepare": {"layout": "brats"}}, "`prepare` must be a mapping"),
        ({"store": 3}, "`store` is 3; give a folder"),
        ({"output": ["runs"]}, r"`output` is \['runs'\]; give a folder"),
        ({"overrides": [3]}, "`overrides` has 3; give --OPTION=VALUE"),
        ({"overrides": ["max_epochs=3"]}, "`overrides` has 'max_epochs=3'"),
    ],
)
def test_refuses(config: Path, change: dict[str, Any], message: str) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_config(config)
