"""What confidence is low for."""

from __future__ import annotations

import numpy as np

from wsseg.prediction.confidence import confidence_of


def test_it_is_low_for_doubt_inside_and_for_what_was_left_out() -> None:
    mask = np.zeros((3, 4), bool)
    mask[1, 1:3] = True
    sure = mask.astype(np.float32)
    assert confidence_of(sure, mask) == 1
    hesitant, elsewhere = np.where(mask, 0.6, 0.0), sure.copy()
    elsewhere[2, 0] = 0.9
    moved = np.roll(sure, 1, axis=0)
    values = [confidence_of(each, mask) or 0 for each in (hesitant, elsewhere, moved)]
    assert 0 == values[2] < values[0] < values[1] < 1


def test_nothing_found_has_none() -> None:
    assert confidence_of(np.full((2, 2), 0.4), np.zeros((2, 2), bool)) is None
