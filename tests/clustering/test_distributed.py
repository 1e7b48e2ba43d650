"""Several processes end with the same clusters and maps, and with those of a single one."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from wsseg.clustering import Deviation, EvidenceScorer
from wsseg.clustering.map_refresh import RegionRefresh
from wsseg.clustering.refresh import Refresh
from wsseg.utils.distributed import Collective
from wsseg.utils.map_folder import MapFolder

HERE = Path(__file__).parent

pytestmark = pytest.mark.xdist_group("distributed")  # processes start once, not in each worker


AGREEING = (
    "uneven-2",
    "uneven-4",
    "few-4",
    "apart-2",
    "cases-2",
    "cases-4",
    "compared-2",
    "compared-4",
)
SCENARIOS = (
    *AGREEING,
    "large-2",
    "failing-2",
    "late-4",
    "train-2",
    "train-4",
    "spawn-2",
    "sharded-2",
    "classifier-2",
    "regions-2",
    "regions-4",
)

Found = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each process of each scenario of ``ranks.py`` wrote."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)]),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, str(HERE / "ranks.py"), str(folder), *SCENARIOS]
    done = subprocess.run(
        command, env=environment, timeout=300, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return {
        scenario: [
            json.loads((folder / scenario / f"{rank}.json").read_text())
            for rank in range(int(scenario[-1]))
        ]
        for scenario in SCENARIOS
    }


def single(toys: ModuleType, folder: Path, kind: str) -> tuple[torch.Tensor, dict[str, float]]:
    views = [Deviation()] if kind == "compared" else []
    work = Refresh(
        toys.scene(kind), toys.OPTIONS, EvidenceScorer(), views, MapFolder(folder), Collective()
    )
    clusters, _ = work.run(*work.run())
    return clusters.centroids, work.report


@pytest.mark.parametrize("scenario", AGREEING)
def test_processes_agree_with_each_other_and_with_one(
    toys: ModuleType, tmp_path: Path, found: Found, scenario: str
) -> None:
    """23 slices on 2 and 4, 3 slices on 4 (one has none), and 2 machines that share no folder.

    Also on 2 and 4 where the slices of a case are mapped together, and where places are compared
    with what is normal, of 47 slices some of which do not belong to the evidence.
    """
    kind = scenario[:-2]
    centroids, report = single(toys, tmp_path, kind)
    assert all(each.get("normal") == (kind == "compared") for each in found[scenario])
    assert [each.get("error") for each in found[scenario]] == [None] * len(found[scenario])
    assert len({each["checksum"] for each in found[scenario]}) == 1
    for each in found[scenario]:
        assert torch.allclose(torch.tensor(each["centroids"]), centroids, atol=1e-5)
        for name, value in each["report"].items():
            assert value == pytest.approx(report[name]), name


@pytest.mark.parametrize("scenario", ["regions-2", "regions-4"])
def test_processes_divide_the_slices_of_one(
    toys: ModuleType, tmp_path: Path, found: Found, scenario: str
) -> None:
    """Maps of regions, and what is reported of them, are those of a single process."""
    source = toys.scene("regions")
    folder, collective = MapFolder(tmp_path), Collective()
    work = RegionRefresh(source, EvidenceScorer(), folder, collective)
    _, maps = work.run(*work.run())
    bits = maps.lookup(torch.arange(len(source))).numpy().tobytes()
    assert 0 < work.report["relevant_area"] < 1
    for each in found[scenario]:
        assert each["maps"] == hashlib.sha256(bits).hexdigest()
        assert each["shape"] == list(maps.shape)
        for name, value in each["report"].items():
            assert value == pytest.approx(work.report[name]), name


def test_traffic_does_not_grow_with_the_data(found: Found) -> None:
    small, large = (max(each["sent"] for each in found[s]) for s in ("uneven-2", "large-2"))
    assert large <= 1.05 * small


def test_a_failure_of_one_ends_all(found: Found) -> None:
    healthy, failed = (each["error"] for each in found["failing-2"])
    assert failed == "RuntimeError: out of memory"
    assert healthy.startswith("InputError: embedding slices failed in process 1")


def test_a_later_failure_of_one_ends_all(found: Found) -> None:
    for rank, each in enumerate(found["late-4"]):
        if rank == 1:
            assert each["error"] == "RuntimeError: out of memory"
        else:
            assert each["error"].startswith("InputError: writing cluster maps failed in process 1")


@pytest.mark.parametrize("scenario", ["train-2", "train-4", "spawn-2"])
def test_training_on_several_processes(found: Found, scenario: str) -> None:
    """DDP with gradient accumulation and mixed precision, on 31 slices, which none share evenly.

    The sampler repeats slices so that all get as many; clusters are told of each slice once.
    """
    first, *others = found[scenario]
    assert all(each == first for each in others)
    assert first["slices"] == 31
    assert first["churn"] < 0.5


def test_processes_with_slices_of_their_own_are_refused(found: Found) -> None:
    """Each would cluster and map a part of its own slices, and the others would have no maps."""
    for each in found["sharded-2"]:
        assert "InputError: the processes have different training slices" in each["error"]


def test_a_classifier_on_several_processes(found: Found) -> None:
    first, second = found["classifier-2"]
    assert first == second
    assert first["slices"] == 31
    assert first["loss"] > 0
