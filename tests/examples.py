"""What the examples in docstrings use; ``pyproject.toml`` makes it a plugin of pytest."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tiny_store(tmp_path: Path) -> str:
    """A slice store of seven small cases, as ``wsseg prepare`` writes them."""
    from tests.data.conftest import write_store

    return str(write_store(tmp_path / "store"))
