"""Sheets of slices: one row per slice, one column per thing that is known."""

from __future__ import annotations

import numpy as np
import pytest

from wsseg.visualisation.slices import SliceRow, slice_sheet


def make_view(*, classes: int = 1, targets: bool = True, truth: bool = True) -> SliceRow:
    rng = np.random.default_rng(0)
    valid = np.zeros((32, 32), bool)
    valid[6:26, 8:24] = True
    activation = np.zeros((classes, 8, 8), np.float32)
    activation[:, 3:5, 3:5] = 1.0
    mask = np.zeros((classes, 32, 32), bool)
    mask[:, 12:20, 12:20] = True
    return SliceRow(
        label="case_0\nslice 7",
        image=(rng.normal(size=(2, 32, 32)) * valid).astype(np.float32),
        valid=valid,
        activation=activation,
        targets=np.where(activation > 0.5, 1.0, -1.0).astype(np.float32) if targets else None,
        truth=mask if truth else None,
    )


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("targets", [True, False])
@pytest.mark.parametrize("truth", [True, False])
def test_columns_follow_what_is_known(classes: int, targets: bool, truth: bool) -> None:
    names = [f"class {number}" for number in range(classes)]
    views = [make_view(classes=classes, targets=targets, truth=truth)] * 2
    sheet = slice_sheet(views, ["FLAIR", "T1"], names, title="t", height=128)
    columns = 2 + classes * (1 + targets) + 1 + truth
    panels = columns * 128 + (columns - 1) * 6
    assert panels < sheet.shape[1] < panels + 200 or sheet.shape[1] < 800
    assert sheet.shape[0] > 2 * 128


def test_rows_may_know_different_things() -> None:
    views = [make_view(), make_view(targets=False, truth=False)]
    assert slice_sheet(views, ["a", "b"], ["tumour"]).std() > 10


def test_slices_without_anatomy_are_drawn() -> None:
    view = make_view()
    empty = SliceRow("", view.image * 0, view.valid & False, view.activation, view.targets)
    assert slice_sheet([empty], ["a", "b"], ["tumour"]).ndim == 3
