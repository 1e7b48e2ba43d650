"""Options are refused by name where they are out of range."""

from __future__ import annotations

from math import inf, nan
from typing import Any

import pytest

from wsseg.models import Finishing, Optimisation
from wsseg.utils.errors import InputError


@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        (Optimisation, "lr", (-1.0, nan, inf)),
        (Optimisation, "weight_decay", (-1.0, nan, inf)),
        (Optimisation, "teacher_decay", (-0.1, 1.0, nan)),
        (Finishing, "refinement", (-1.0, nan, inf)),
        (Finishing, "smallest_component", (-0.1, 1.5, nan)),
    ],
)
def test_values_out_of_range(kind: Any, name: str, values: tuple[float, ...]) -> None:
    option = f"--model.{kind.__name__.lower()}.{name}"
    for value in values:
        with pytest.raises(InputError, match=f"^{option} {value:g}: must be "):
            kind(**{name: value})
    assert getattr(kind(**{name: 0}), name) == 0
