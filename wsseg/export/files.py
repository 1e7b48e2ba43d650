"""Which files an exported model consists of, and where they may be written."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wsseg.utils.errors import InputError
from wsseg.utils.files import check_writable, naming

METADATA, INFERENCE = "configs/metadata.json", "configs/inference.json"
GUIDE = "docs/README.md"
DESCRIPTION = "models/model.json"
WEIGHTS, SAFE_WEIGHTS = "models/model.pt", "models/model.safetensors"
ONNX, PROGRAM = "models/model.onnx", "models/model.pt2"


def check_output(out: Path) -> None:
    """Refuse a folder that cannot be written to, or that holds something else.

    Args:
        out: The folder for the model; it need not exist yet.

    Raises:
        InputError: It is a file, is not writable, or holds files but no exported model.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; name a folder for the exported model")
    check_writable(out.parent if not out.exists() else out)
    if out.is_dir() and any(out.iterdir()) and not (out / DESCRIPTION).is_file():
        raise InputError(
            f"{out}: holds files, but no model that `wsseg export` wrote; name another folder"
        )


@contextmanager
def all_or_nothing(out: Path) -> Iterator[Path]:
    """Provide a folder beside another, whose files are moved there when the block ends well.

    So an export that fails or is killed leaves an earlier one as it was. Other files in the folder
    are kept, such as masks that the bundle has predicted.

    Args:
        out: The folder for the model.

    Example:
        >>> out = Path(getfixture("tmp_path")) / "model"
        >>> with all_or_nothing(out) as part:
        ...     (part / "docs").mkdir()
        ...     _ = (part / "docs/README.md").write_text("")
        ...     out.exists()
        False
        >>> [path.name for path in out.rglob("*.md")]
        ['README.md']
    """
    part = out.with_name(f".part-{out.name}")
    shutil.rmtree(part, ignore_errors=True)  # of an export that was killed
    try:
        with naming(out):
            part.mkdir(parents=True)
            yield part
            for path in sorted(part.rglob("*")):
                target = out / path.relative_to(part)
                if path.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(path, target)  # noqa: PTH105 (it is said to be atomic)
    finally:
        shutil.rmtree(part, ignore_errors=True)
