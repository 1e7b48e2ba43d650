"""Configuration files that options name, before the parser reads them."""

from __future__ import annotations

import re
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from wsseg.utils.documents import flat, read_document


def configurations(options: Sequence[str]) -> list[Path]:
    """Return the configuration files that options name.

    Args:
        options: Options of the command line.

    Example:
        >>> configurations(["--config", "a.yaml", "--data.fold=1", "-c", "b.yaml"])
        [PosixPath('a.yaml'), PosixPath('b.yaml')]
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-c", "--config", action="append", default=[])
    given, _ = parser.parse_known_args(options)
    return [Path(path) for path in given.config]


def configuration_with(options: Sequence[str], reason: str) -> str:
    """Say in which configuration file the option stands that was refused.

    Args:
        options: Options of the command line.
        reason: The refusal, which names the option.

    Returns:
        The text to add; empty if the option stands in no file, or on the command line.
    """
    words = set(re.findall(r"[\w.]+", reason))
    if any(option.removeprefix("--").partition("=")[0] in words for option in options):
        return ""
    for path in configurations(options):
        if path.is_file() and words & set(flat(read_document(path))):
            return f" (in {path})"
    return ""
