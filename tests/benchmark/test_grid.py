"""The whole benchmark, with stubbed training."""

from __future__ import annotations

import csv
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from tests.benchmark.conftest import Child
from wsseg.benchmark import benchmark, grid, runs
from wsseg.benchmark.grid import check_store, make_data
from wsseg.cli import main
from wsseg.utils.errors import InputError
from wsseg.utils.files import lock
from wsseg.utils.system import native_precision


def test_writes_tables_and_pictures(
    config: Path, child: Child, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = benchmark(config)
    assert [call[0] for call in child.calls] == ["fit", "test"] * 2
    assert f"--trainer.default_root_dir={out / 'crs' / 'fold0-seed1'}" in child.calls[2]
    expected = {
        "--data.fold=0",
        "--seed_everything=1",
        "--model.mask_ratio=0.1",
        "--trainer.devices=1",
    }
    assert expected | {f"--trainer.precision={native_precision()}"} <= set(child.calls[2])
    with (out / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 2 * 2
    assert {row["method"] for row in rows} == {"crs", "clustering", "threshold"}
    assert all(float(row["seconds"]) >= 0 for row in rows)
    for name in ("dice.png", "overview.png"):
        assert np.asarray(Image.open(out / name)).std() > 5
    table = (out / "table.md").read_text()
    assert "| threshold | 0." in table
    printed = capsys.readouterr().out
    assert "wsseg predict --ckpt_path" in printed
    assert "2 held-out cases, 2 seeds" in printed


def test_settings_are_checked_before_anything_is_trained(
    config: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "refusal", lambda arguments: f"{arguments[-1]}: is not accepted")
    with pytest.raises(
        InputError, match=r"^method `crs`: --model\.mask_ratio=0\.1: is not accepted$"
    ):
        benchmark(config)
    assert not child.calls


def test_goes_on_where_it_stopped(config: Path, child: Child) -> None:
    benchmark(config)
    count = len(child.calls)
    (config.parent / "out" / "crs" / "fold0-seed1" / "metrics.json").unlink()
    benchmark(config)
    assert len(child.calls) == count + 2


def test_a_run_that_was_stopped_goes_on(config: Path, child: Child) -> None:
    folder = config.parent / "out" / "crs" / "fold0-seed0"
    child.fail = lambda arguments: arguments[0] == "test" and str(folder) in arguments[1]
    with pytest.raises(SystemExit):
        benchmark(config)
    before = json.loads((folder / "benchmark.json").read_text())["seconds"]
    child.fail = lambda _: False
    child.calls.clear()
    benchmark(config)
    again, _ = child.calls
    assert again[-1] == f"--ckpt_path={folder / 'last.ckpt'}"
    assert json.loads((folder / "benchmark.json").read_text())["seconds"] > before


def test_weights_of_other_settings_are_not_scored(config: Path, child: Child) -> None:
    folder = config.parent / "out" / "crs" / "fold0-seed0"
    child.fail = lambda arguments: arguments[0] == "test"
    with pytest.raises(SystemExit):
        benchmark(config)
    config.write_text(config.read_text().replace("ratio=0.1", "ratio=0.2"))
    child.fail = lambda arguments: arguments[0] == "fit"
    with pytest.raises(SystemExit):
        benchmark(config)
    assert not (folder / "last.ckpt").exists()


def test_results_of_another_precision_are_not_mixed(
    config: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    for precision in ("32-true", "bf16-mixed"):
        monkeypatch.setattr(runs, "native_precision", lambda of=precision: of)
        if precision == "32-true":
            benchmark(config)
            continue
        with pytest.raises(InputError, match="was trained in precision 32-true, but this machine"):
            benchmark(config)
        benchmark(config, report_only=True)


def test_reports_what_is_finished_and_runs_nothing(config: Path, child: Child) -> None:
    with pytest.raises(InputError, match="out: holds no finished run; leave out --report_only"):
        benchmark(config, report_only=True)
    benchmark(config)
    count, out = len(child.calls), config.parent / "out"
    (out / "crs" / "fold0-seed1" / "metrics.json").unlink()
    benchmark(config, report_only=True)
    assert len(child.calls) == count
    assert "| crs * |" in (out / "table.md").read_text()


def test_a_failed_run_does_not_stop_the_others(
    config: Path, child: Child, capsys: pytest.CaptureFixture[str]
) -> None:
    child.fail = lambda arguments: "--seed_everything=0" in arguments
    with pytest.raises(SystemExit) as stopped:
        benchmark(config)
    assert stopped.value.code == 1
    printed = capsys.readouterr().out
    assert "1 of 6 runs failed" in printed
    assert "error: out of luck" in printed
    assert (config.parent / "out" / "crs" / "fold0-seed1" / "metrics.json").is_file()
    assert (config.parent / "out" / "table.md").is_file()


def test_benchmarks_started_twice_share_the_runs(config: Path, child: Child) -> None:
    both_train = threading.Barrier(2, timeout=60)

    def meet(arguments: list[str]) -> bool:
        if arguments[0] == "fit":
            both_train.wait()
        return False

    child.fail = meet
    with ThreadPoolExecutor(2) as pool:
        outputs = list(pool.map(benchmark, [config] * 2))
    assert sorted(call[0] for call in child.calls) == ["fit", "fit", "test", "test"]
    seeds = {part for call in child.calls for part in call if part.startswith("--seed")}
    assert seeds == {"--seed_everything=0", "--seed_everything=1"}
    with (outputs[0] / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 2 * 2


def test_a_run_of_another_benchmark_is_waited_for(
    config: Path, child: Child, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = benchmark(config)
    results = out / "crs" / "fold0-seed0" / "metrics.json"
    text = results.read_text()
    results.unlink()
    calls, other = len(child.calls), ExitStack()
    assert other.enter_context(lock(results.parent))

    def finish(_: float) -> None:
        results.write_text(text)
        other.close()

    monkeypatch.setattr(grid.time, "sleep", finish)
    benchmark(config)
    assert len(child.calls) == calls


def test_refuses_results_of_other_settings(config: Path, child: Child) -> None:
    benchmark(config)
    plain = yaml.safe_load(config.read_text())
    plain["methods"]["crs"]["overrides"] = ["--model.mask_ratio=0.2"]
    config.write_text(yaml.safe_dump(plain))
    with pytest.raises(InputError, match="other settings"):
        benchmark(config)


def test_a_configuration_that_changes_during_its_run_is_noticed(config: Path, child: Child) -> None:
    training = config.parent / "crs.yaml"

    def edit(arguments: list[str]) -> bool:
        training.write_text("trainer: {max_epochs: 2}\n")
        return False

    child.fail = edit
    benchmark(config)
    with pytest.raises(InputError, match="fold0-seed0: holds results of other settings"):
        benchmark(config)


def test_a_fold_that_the_store_lacks_is_refused_before_any_run(config: Path, child: Child) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"folds": [0, 1]}))
    with pytest.raises(InputError, match="store: has no fold 1"):
        benchmark(config)
    assert not (config.parent / "out").exists()


def test_a_store_without_masks_to_score_with_is_refused_before_hours_of_training(
    config: Path, child: Child
) -> None:
    masks = config.parent / "store" / "masks"
    (masks / "f.npy").unlink()
    benchmark(config)  # one of two test cases is enough
    (masks / "g.npy").unlink()
    with pytest.raises(InputError, match="store/masks: no test case of fold 0 has a mask"):
        benchmark(config)
    benchmark(config, report_only=True)


def test_a_store_that_is_not_there_is_refused(config: Path) -> None:
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"store": "absent"}))
    with pytest.raises(InputError, match=r"give the slice store with --data\.root"):
        benchmark(config)


def test_a_store_of_other_options_is_refused(config: Path) -> None:
    store = config.parent / "store"
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["options"] = {"layout": "brats", "slice_step": 3, "spacing": 2.0, "folds": 5}
    for case in manifest["cases"]:
        case["positions"] = [3 * number for number in case["positions"]]
    (store / "manifest.json").write_text(json.dumps(manifest))
    preparation = {"layout": "brats", "source": "x", "out": "x", "slice_step": 3, "spacing": 2}
    check_store(store, [0], preparation)
    check_store(store, [0], {})
    with pytest.raises(InputError, match=r"with slice_step 3, but `prepare` says 2"):
        check_store(store, [0], preparation | {"slice_step": 2})
    manifest["options"]["classes"] = {"whole": [1, 2], "core": [1]}
    (store / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"but `prepare` says \{'core': \[1\], 'whole'"):
        check_store(store, [0], preparation | {"classes": {"core": [1], "whole": [1, 2]}})
    del manifest["options"]["classes"]
    (store / "manifest.json").write_text(json.dumps(manifest))
    del preparation["spacing"]  # then it is the default
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | {"prepare": preparation}))
    with pytest.raises(InputError, match=r"with spacing 2.0, but `prepare` says None"):
        benchmark(config)


def test_data_is_made_only_if_absent(tmp_path: Path, config: Path) -> None:
    make_data({"out": "never"}, {"out": "never"}, config.parent / "store")
    with pytest.raises(InputError, match="phantom: unknown option 'colour'"):
        make_data({"out": str(tmp_path / "p"), "colour": 1}, None, tmp_path / "absent")


def test_benchmarks_that_share_a_phantom_make_it_once(tmp_path: Path) -> None:
    source = tmp_path / "source"
    blocks = [{"out": str(source), "cases": 2, "seed": 0}] * 2
    with ThreadPoolExecutor() as pool:
        made = [
            pool.submit(make_data, block, None, tmp_path / f"store{number}")
            for number, block in enumerate(blocks)
        ]
    for each in made:
        each.result()
    assert {path.name for path in source.glob("[!.]*")} == {"phantom_0000", "phantom_0001"}


def test_a_phantom_of_another_seed_is_refused_though_the_store_is_there(
    tmp_path: Path, config: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / ".phantom.json").write_text('{"seed": 0, "spacing": 2.0}')
    (source / "phantom_0000").mkdir()
    block = {"out": str(source), "cases": 1, "seed": 0}
    make_data(block, None, config.parent / "store")
    with pytest.raises(InputError, match=r"source: .* made with other options \(\{'seed': 0"):
        make_data(block | {"seed": 1}, None, config.parent / "store")


def test_the_command_takes_the_file(config: Path, child: Child) -> None:
    assert main(["benchmark", str(config)]) == 0
    assert (config.parent / "out" / "table.md").is_file()
