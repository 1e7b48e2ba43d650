"""Files are written whole or not at all, by one process at a time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from wsseg.utils.errors import InputError
from wsseg.utils.files import check_writable, lock, replacing


def test_file_takes_its_place_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.txt"
    with replacing(path) as part:
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_failure_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("earlier")

    def fail() -> None:
        with replacing(path) as part:
            part.write_text("ha")
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - no message
        fail()
    assert path.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [path]


def test_folders_that_can_be_made(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "a" / "b"):
        check_writable(folder)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["file", "file/below", "file/below/it"])
def test_a_file_in_the_way(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file: is a file; name a folder other than"):
        check_writable(tmp_path / folder)


def test_no_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As told by the system; whoever runs this test may be allowed everything."""
    monkeypatch.setattr(os, "access", lambda place, _: place != tmp_path)
    with pytest.raises(InputError, match=": is not writable; name a folder other than"):
        check_writable(tmp_path / "a" / "b")


HOLDING = """
import sys
from pathlib import Path
from wsseg.utils.files import lock
with lock(Path(sys.argv[1])) as held:
    print(held, flush=True)
    input()
"""


def test_a_process_that_is_killed_lets_go(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    command = [sys.executable, "-c", HOLDING, str(folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "True\n"
        with lock(folder, wait=False) as held:
            assert not held
        other.kill()
    for _ in range(2):  # and so does the end of a block
        with lock(folder, wait=False) as held:
            assert held
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP])
def test_a_file_system_without_locks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    for _ in range(2):
        with lock(tmp_path / "store") as held:
            assert held
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EROFS])
def test_a_folder_in_which_no_lock_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """As told by the system; whoever runs this test may be allowed everything."""
    other = tmp_path / ".store.lock"  # of somebody else, whose file must stay
    other.write_text("process 1 on elsewhere")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        with lock(tmp_path / "store", wait=False) as held:
            assert held
    assert other.read_text() == "process 1 on elsewhere"
