"""Messages on the terminal: one line for each error and each warning."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from itertools import groupby

HARMLESS = (  # warnings of Lightning and torch (pinned versions; the last one on GPUs only)
    "Checkpoint directory .* exists and is not empty",  # resuming and repeating are legitimate
    "Experiment logs directory .* exists and is not empty",
    "Total length of `list` across ranks is zero",  # a split may lack validation cases
    "The dirpath has changed from",  # continuing in another folder is legitimate
    ".*isinstance.treespec, LeafSpec.. is deprecated",
    ".*AccumulateGrad node's stream does not match",  # Lightning sets DDP up on another stream
)
CHATTY_LOGGERS = (  # they log what needs no action, such as devices and the seed
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.seed",
)
OTHER_TYPE = "Expected a "  # start of an error message of jsonargparse about the type of a value
KEY = 'Parser key "'  # start of an error message of jsonargparse that names an option


def refusal(error: BaseException, command: str = "", positional: Container[str] = ()) -> str:
    """Describe an error of the parser in one line: the option, and what is wrong with it.

    The parser raises a chain of errors: the outer ones name the parts of a dotted option, and the
    innermost says what is wrong.

    Args:
        error: The outermost error.
        command: Sub-command, which is removed from the names of options.
        positional: Names of positional arguments, which are written without dashes.

    Example:
        >>> import jsonargparse
        >>> parser = jsonargparse.ArgumentParser(exit_on_error=False)
        >>> _ = parser.add_argument("--data.fold", type=int)
        >>> try:
        ...     parser.parse_args(["--data.fold=first"])
        ... except jsonargparse.ArgumentError as error:
        ...     refusal(error)
        "--data.fold: Expected a <class 'int'>. Got value: first"
    """
    chain = [error]
    while chain[-1].__cause__:
        chain.append(chain[-1].__cause__)
    reason = " ".join(str(chain[-1]).split())
    value = reason.rpartition(" ")[2]  # of an option with several types, one error is the cause
    tried = [line.strip() for line in str(chain[-2:][0]).splitlines() if line.endswith(value)]
    others = [line[2:] for line in tried if line.startswith("- ") and line[2:] not in reason]
    reason = "; or ".join([reason, *others]).replace(f" {command}.", " --").rstrip(".;")
    if reason.startswith(OTHER_TYPE):  # while another type that was tried fits, but not its values
        listed = [line.strip()[2:] for line in str(chain[-2:][0]).splitlines() if "  - " in line]
        reason = next((each for each in listed if not each.startswith(OTHER_TYPE)), reason)
    # Consecutive errors may name the same part.
    quoted = [str(link).split('"')[1] for link in chain if str(link).startswith(KEY)]
    keys = [part.removeprefix(f"{command}.") for part, _ in groupby(quoted)]
    if not keys or reason.startswith(KEY):
        return reason
    name = ".".join(keys)
    return f"{name}: {reason}" if name in positional else f"--{name}: {reason}"


@contextmanager
def plain_messages() -> Iterator[None]:
    """Print warnings in one line, without the place in the code, and hide harmless ones."""
    original = warnings.formatwarning
    loggers = [logging.getLogger(name) for name in CHATTY_LOGGERS]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for text in HARMLESS:
            warnings.filterwarnings("ignore", text)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        warnings.formatwarning = _formatted  # type: ignore[assignment]
        try:
            yield
        finally:
            warnings.formatwarning = original
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _formatted(message: Warning | str, *_: object) -> str:
    return f"warning: {' '.join(str(message).split())}\n"
