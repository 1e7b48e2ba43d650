"""Fixtures that several test modules share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("wsseg", deadline=None)  # on a busy machine any example may take long
settings.load_profile("wsseg")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images; tests that need it skip where it is absent."""
    root = Path(os.environ.get("WSSEG_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real images are not at {root} (set WSSEG_SHARED_DATA)")
    return root


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks as small as those of tests are quicker with one."""
    import torch  # here, since not every test needs it

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Look for examples in the docstrings of wsseg only: helpers of tests are no modules."""
    helper = collection_path.suffix == ".py" and not collection_path.stem.startswith("test_")
    return True if helper and collection_path.name != "conftest.py" else None
