"""The figure of a benchmark."""

from __future__ import annotations

from pathlib import Path

import matplotlib.figure
import pytest

from wsseg.benchmark.figure import draw_dice
from wsseg.benchmark.table import INCOMPLETE, Result
from wsseg.evaluation.metrics import METRICS


def result(method: str, seed: int, case: str, dice: float) -> Result:
    scores = dict.fromkeys(METRICS, 1.0) | {"dice": dice}
    return Result(method, seed, 0, case, "tumour", scores, 1.0)


ROWS = [result("crs", seed, case, 0.8 + 0.05 * seed) for seed in (0, 1) for case in ("anna", "ben")]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[matplotlib.figure.Figure]:
    """The figures that are saved."""
    found: list[matplotlib.figure.Figure] = []
    save = matplotlib.figure.Figure.savefig
    spy = lambda figure, *args, **named: (  # noqa: E731
        found.append(figure) or save(figure, *args, **named)
    )
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", spy)
    return found


def test_methods_that_lack_runs_are_marked(
    tmp_path: Path, drawn: list[matplotlib.figure.Figure]
) -> None:
    other = [result("cam", 0, case, 0.4) for case in ("anna", "ben")]
    draw_dice([*ROWS, *other], tmp_path / "one.png")
    draw_dice(ROWS, tmp_path / "two.png")
    (some,), (none,) = (figure.axes for figure in drawn)
    assert [label.get_text() for label in some.get_yticklabels()] == ["crs", "cam *"]
    assert INCOMPLETE in some.get_title()
    assert [label.get_text() for label in none.get_yticklabels()] == ["crs"]
    assert none.get_title() == "tumour: Dice of 2 held-out cases"


def test_points_are_cases_averaged_over_seeds(
    tmp_path: Path, drawn: list[matplotlib.figure.Figure]
) -> None:
    path = draw_dice(
        [*ROWS[:3], ROWS[3]._replace(scores=ROWS[3].scores | {"dice": 0.2})],
        tmp_path / "new" / "dice.png",
    )
    points = drawn[0].axes[0].collections[0].get_offsets()
    assert points[:, 0].tolist() == pytest.approx([0.825, 0.5])
    assert path.is_file()
