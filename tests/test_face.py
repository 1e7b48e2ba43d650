"""What ``from wsseg import ...`` gives, and when it is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wsseg

REPOSITORY = Path(__file__).resolve().parents[1]
LAZY = """
import sys
import wsseg
assert {"CamModule", "predict"} <= set(dir(wsseg))
assert not {"torch", "numpy", "pytorch_lightning"} & set(sys.modules)
from wsseg import CamModule
assert CamModule.__module__.startswith("wsseg.models")
assert "wsseg.prediction" not in sys.modules
"""


@pytest.mark.parametrize("name", wsseg.__all__)
def test_every_public_name_is_there(name: str) -> None:
    found = getattr(wsseg, name)
    assert found.__name__ == name
    assert found.__doc__


def test_names_are_imported_when_they_are_used() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True, cwd=REPOSITORY)


def test_other_names_are_no_attributes() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = wsseg.Nonsense
