"""The parts of sections that need no run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from wsseg.clustering.table import ClusterRow
from wsseg.report.cluster_facts import MOST_OF_A_CLASS, choose, looks_of, reason_of
from wsseg.report.curves import MOST_POINTS, draw_curves, read_lines
from wsseg.report.drawing import LINE_COLOURS
from wsseg.report.held_out import draw_masks
from wsseg.report.page import coded
from wsseg.report.scores import read_scores

ROW = ClusterRow(0, 0, "cyst", 0.01, 5, 3.0, 0.9, 0.9, 0.9, 0.5, 0.5, "relevant")


def write_log(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines))
    return path


def test_steps_become_epochs(tmp_path: Path) -> None:
    rows = ["step,epoch,lr-AdamW,train/loss", "0,,0.1,", "9,0,,3.0", "10,,0.2,", "19,1,,2.0"]
    lines = read_lines(write_log(tmp_path / "metrics.csv", rows))
    assert lines["train/loss"].x == [1, 2]
    assert lines["lr-AdamW"].x == pytest.approx([0, 1])
    assert lines["train/loss"].name == "loss"


def test_long_logs_and_strange_names_stay_small_and_whole(tmp_path: Path) -> None:
    header = "step,epoch,train/$x_1<b>,my own"
    rows = [header, *(f"{n},{n},{n % 7},{n}" for n in range(5000))]
    charts = draw_curves(write_log(tmp_path / "metrics.csv", rows))
    assert [chart.heading for chart in charts] == ["Losses", "my own"]
    assert charts[0].legend == [("$x 1<b>", LINE_COLOURS[0])]
    assert all(len(chart.svg) < 60 * MOST_POINTS for chart in charts)
    assert not any("<b>" in chart.svg for chart in charts)


def test_without_a_log_there_are_no_charts(tmp_path: Path) -> None:
    assert draw_curves(tmp_path / "metrics.csv") == []
    assert draw_curves(write_log(tmp_path / "metrics.csv", [])) == []


def test_clusters_of_all_clusterings_are_shown_and_some_that_were_rejected() -> None:
    relevant = [
        ROW._replace(clustering=r, cluster=k, size=0.1 - 0.01 * k)
        for r in range(4)
        for k in range(8)
    ]
    rejected = [
        ROW._replace(cluster=20 + k, relevance=0.1, activation=0.1 * k, decision="irrelevant")
        for k in range(9)
    ]
    chosen = choose([*relevant, *rejected], classes=1)
    assert len(chosen) == len(set(chosen)) == MOST_OF_A_CLASS
    assert [(row.clustering, row.cluster) for row in chosen[:5]] == [
        *((r, 0) for r in range(4)),
        (0, 1),
    ]
    assert [row.cluster for row in chosen[-4:]] == [20, 21, 28, 27]  # the closest, the most active
    assert len(choose(relevant, classes=1)) == MOST_OF_A_CLASS
    assert choose([], classes=3) == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"slices": 0}, "in no slice with the tag"),
        ({"purity": 0.6, "focus": 0.95, "score": 0.3}, "it is only 1.5 times as frequent"),
        ({"focus": 0.3, "score": 0.08}, "spreads over slices"),
        ({"score": 0.05}, "the network sees little there"),
    ],
)
def test_reasons_name_what_counts_most_against_a_cluster(
    change: dict[str, float], expected: str
) -> None:
    assert expected in reason_of(ROW._replace(decision="irrelevant", **change))


def test_looks_name_at_most_three_modalities() -> None:
    assert looks_of([0.1, -0.2], ["T1", "T2"]) == "of medium brightness everywhere"
    assert looks_of([1, -2, 3, 4], ["a", "b", "c", "d"]).count(" in ") == 3


def test_nested_classes_and_truth_are_all_drawn() -> None:
    picture = np.full((40, 40, 3), 90, np.uint8)
    found = np.zeros((2, 40, 40), bool)
    found[0, 5:30, 5:30] = found[1, 10:20, 10:20] = True
    alone = draw_masks(picture, found, None)
    assert len({tuple(alone[y, x]) for y, x in ((1, 1), (7, 25), (15, 15))}) == 3
    assert (draw_masks(picture, found, ~found) != alone).any()
    assert (draw_masks(picture, found[:1], found[1:]) != draw_masks(picture, found[:1], None)).any()


def test_names_are_escaped_and_code_is_marked() -> None:
    assert str(coded("<i>`a<b`")) == "&lt;i&gt;<code>a&lt;b</code>"


def test_no_scores_are_no_fault(tmp_path: Path) -> None:
    assert read_scores(tmp_path / "nowhere") is None
