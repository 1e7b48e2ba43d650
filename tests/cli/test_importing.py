"""The garbage collector leaves imported libraries alone, and nothing else."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from wsseg.cli import main
from wsseg.cli.commands import quick_imports


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.enable()
    gc.unfreeze()


def test_the_collector_rests_during_imports_only() -> None:
    with quick_imports():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_what_was_imported_is_left_alone_and_what_comes_after_is_not() -> None:
    class Node:
        pass

    with quick_imports():
        imported = Node()
    later = Node()
    kept, collected = (any(each is node for each in gc.get_objects()) for node in (imported, later))
    assert not kept  # the collector does not see it any more
    assert collected


def test_an_error_wakes_the_collector() -> None:
    with pytest.raises(ImportError), quick_imports():
        raise ImportError
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    with quick_imports():
        pass
    assert not gc.isenabled()


def test_commands_import_that_way(capsys: pytest.CaptureFixture[str]) -> None:
    gc.unfreeze()
    with pytest.raises(SystemExit):
        main(["phantom", "--help"])
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0
