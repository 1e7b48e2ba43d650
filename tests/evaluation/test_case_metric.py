"""Cases put together from slices: repeats, order, ranks."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from wsseg.data.store import CaseSlices
from wsseg.evaluation.case_metric import CaseSegmentationMetric
from wsseg.evaluation.metrics import score
from wsseg.prediction.confidence import confidence_of

CASES = [
    CaseSlices("a", 0, 0, torch.zeros(4, 2), (2.0, 1.0, 1.0), (0, 1, 2, 3)),
    CaseSlices("b", 1, 4, torch.zeros(3, 2), (3.0, 1.0, 1.0), (7, 8, 10)),
]
CASE = torch.tensor([0, 0, 0, 0, 1, 1, 1])
CLASSES = {"core": [1], "edema": [2]}


def slices(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    both = torch.rand((2, 7, 2, 5, 6), generator=generator) < 0.4
    return both[0], both[1]


def fed(order: list[int], size: int) -> CaseSegmentationMetric:
    metric = CaseSegmentationMetric(CASES, CLASSES)
    prediction, truth = slices()
    for rows in torch.tensor(order).split(size):
        metric.update(prediction[rows], truth[rows], rows, CASE[rows])
    return metric


def test_scores_volumes_with_gaps() -> None:
    rows = fed(list(range(7)), 3).compute()
    prediction, truth = (each.numpy() for each in slices())
    assert [(row.case, row.class_name) for row in rows] == [
        ("a", "core"),
        ("a", "edema"),
        ("b", "core"),
        ("b", "edema"),
    ]
    assert rows[1].scores == score(prediction[:4, 1], truth[:4, 1], (2, 1, 1))
    gap = np.zeros((1, 5, 6), bool)
    volumes = [np.concatenate([v[4:6, 0], gap, v[6:, 0]]) for v in (prediction, truth)]
    assert rows[2].scores == score(volumes[0], volumes[1], (3, 1, 1))


def test_order_and_repeats_do_not_matter() -> None:
    assert fed([6, 2, 2, 0, 1, 3, 6, 5, 4, 0], 4).compute() == fed(list(range(7)), 7).compute()


def test_confidence_is_of_the_whole_case() -> None:
    metric = CaseSegmentationMetric(CASES, CLASSES, distances=False)
    prediction, truth = slices()
    probability = torch.rand(prediction.shape, generator=torch.Generator().manual_seed(1))
    for rows in torch.tensor([6, 2, 4, 0, 2, 1, 3, 5]).split(3):
        metric.update(prediction[rows], truth[rows], rows, CASE[rows], probability[rows])
    found = [row.confidence for row in metric.compute()]
    said, masks = probability.numpy(), prediction.numpy()
    cases = [slice(0, 4), slice(4, 7)]
    expected = [confidence_of(said[case, c], masks[case, c]) for case in cases for c in (0, 1)]
    assert found == pytest.approx(expected, abs=1 / 255)
    assert {row.confidence for row in fed(list(range(7)), 3).compute()} == {None}


def test_nothing_predicted_has_no_confidence() -> None:
    metric = CaseSegmentationMetric(CASES, CLASSES, distances=False)
    prediction, truth = slices()
    prediction[:4, 1] = False
    metric.update(prediction, truth, torch.arange(7), CASE, torch.rand(prediction.shape))
    assert [row.confidence is None for row in metric.compute()] == [False, True, False, False]


def test_reset_forgets() -> None:
    metric = fed([0, 1], 2)
    metric.reset()
    assert metric.compute() == []


def test_specks_are_dropped_of_the_prediction_only() -> None:
    prediction = torch.zeros(4, 1, 5, 6, dtype=torch.bool)
    prediction[1:3, 0, 1:3, 1:4] = True
    truth = prediction.clone()
    prediction[0, 0, 4, 5] = truth[3, 0, 4, 5] = True
    scores = []
    for smallest in (0.0, 0.1):
        metric = CaseSegmentationMetric(CASES, {"core": [1]}, smallest_component=smallest)
        metric.update(prediction, truth, torch.arange(4), CASE[:4])
        scores.append(metric.compute()[0].scores)
    assert [each.dice for each in scores] == pytest.approx([2 * 12 / 26, 2 * 12 / 25])


def test_skips_distances_when_told() -> None:
    metric = CaseSegmentationMetric(CASES, CLASSES, distances=False)
    prediction, truth = slices()
    metric.update(prediction, truth, torch.arange(7), CASE)
    scores = metric.compute()[0].scores
    assert np.isnan(scores.hd95)
    assert 0 < scores.dice < 1


def _in_group(rank: int, folder: str, check: Callable[[int], None]) -> None:
    import torch.distributed as dist

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/init", rank=rank, world_size=2)
    check(rank)
    dist.destroy_process_group()
    # Without the interpreter's clean-up: a thread of gloo that still lets go of a tensor meanwhile
    # is ended by Python inside C++ code, which aborts the process (once in some thousand ends).
    os._exit(0)


def in_two_processes(check: Callable[[int], None], folder: Path) -> None:
    torch.multiprocessing.spawn(_in_group, (str(folder), check), nprocs=2)


def fed_alone() -> list[object]:
    metric = fed(list(range(7)), 7)
    metric._to_sync = False
    return list(metric.compute())


def _shares_agree(rank: int) -> None:
    # Uneven, and slice 4 on both, as a sampler does that pads.
    rows = fed([0, 1, 2, 3, 4] if rank == 0 else [4, 5, 6], 2).compute()
    assert rows == fed_alone()


def test_ranks_with_uneven_shares_agree(tmp_path: Path) -> None:
    in_two_processes(_shares_agree, tmp_path)


def _one_fails(rank: int) -> None:
    def fail_on_one(case: str, rows: np.ndarray, masks: np.ndarray) -> np.ndarray:
        if rank == 1:
            raise RuntimeError("out of memory")
        scored.append(case)
        return masks

    scored: list[str] = []
    metric = fed(list(range(7)), 7)
    metric.refine = fail_on_one
    expected = "out of memory" if rank == 1 else "scoring cases failed in process 1"
    with pytest.raises((RuntimeError, ValueError), match=expected):
        metric.compute()
    assert len(scored) == (rank == 0), "each scores one of the two cases"


def test_cases_are_shared_and_a_failure_of_one_ends_all(tmp_path: Path) -> None:
    in_two_processes(_one_fails, tmp_path)


def test_empty_case_is_perfect() -> None:
    metric = CaseSegmentationMetric(CASES, {"core": [1]})
    nothing = torch.zeros(4, 1, 5, 6, dtype=torch.bool)
    metric.update(nothing, nothing, torch.arange(4), CASE[:4])
    assert metric.compute()[0].scores == pytest.approx((1, 0, 0, 1, 1))
