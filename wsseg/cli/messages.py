"""What a user reads on the terminal: one line for an error, one for a warning, no chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Container, Iterator
from contextlib import contextmanager
from itertools import groupby

HARMLESS = (  # warnings of Lightning and torch, seen on the pinned versions (the last on GPUs only)
    "Checkpoint directory .* exists and is not empty",  # resuming and repeating are legitimate
    "Experiment logs directory .* exists and is not empty",
    "Total length of `list` across ranks is zero",  # a split may lack validation cases
    "The dirpath has changed from",  # continuing in another folder is legitimate
    ".*isinstance.treespec, LeafSpec.. is deprecated",
    ".*AccumulateGrad node's stream does not match",  # Lightning sets DDP up on another stream
)
CHATTY_LOGGERS = (  # they announce what needs no action, such as devices and the seed
    "pytorch_lightning.utilities.rank_zero",
    "lightning_fabric.utilities.rank_zero",
    "lightning_fabric.utilities.seed",
)
KEY = 'Parser key "'  # how jsonargparse begins to say which option it means


def refusal(error: BaseException, command: str = "", positional: Container[str] = ()) -> str:
    """Return in one line which option a parser refuses, and why.

    A parser raises one error because of another: the outer ones name the option, one level of it
    each, and the innermost says what is wrong.

    Args:
        error: The outermost error.
        command: Sub-command, whose name is left out of the names of options.
        positional: Names of arguments that are written without dashes.

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
    value = reason.rpartition(" ")[2]  # of several types that it might have, one is the cause
    tried = [line.strip() for line in str(chain[-2:][0]).splitlines() if line.endswith(value)]
    others = [line[2:] for line in tried if line.startswith("- ") and line[2:] not in reason]
    reason = "; or ".join([reason, *others]).replace(f" {command}.", " --").rstrip(".;")
    # An error repeats what the one inside says of the same option.
    quoted = [str(each).split('"')[1] for each in chain if str(each).startswith(KEY)]
    keys = [key.removeprefix(f"{command}.") for key, _ in groupby(quoted)]
    if not keys or reason.startswith(KEY):
        return reason
    name = ".".join(keys)
    return f"{name}: {reason}" if name in positional else f"--{name}: {reason}"


@contextmanager
def plain_messages() -> Iterator[None]:
    """Show warnings as one line without the place in the code; hide those that are harmless."""
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
