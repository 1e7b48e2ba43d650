"""What a user reads on the terminal: one line for an error, one for a warning, no chatter."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

IGNORED_WARNINGS = (
    ".*does not have many workers.*",  # slices are read faster in the main process
    ".*smaller than the logging interval.*",
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",
    ".*exists and is not empty.*",  # resuming and repeating a run is legitimate
    ".*experiment logs directory.*exists.*",
    ".*infer the `batch_size`.*",
    ".*Lazy modules.*",
    ".*dirpath has changed from.*",  # continuing in another folder is legitimate
    ".*no `val_dataloader`.*",  # a split without validation cases is legitimate
    ".*Using `DistributedSampler` with the dataloaders.*",  # repeated slices are scored once
    ".*recommended to use `self.log..(val|test)/dice.*",  # scores are equal on all ranks
    ".*Total length of `list` across ranks is zero.*",
    ".*LightningCLI's args parameter.*",
    ".*AccumulateGrad node's stream does not match.*",  # Lightning sets DDP up on another stream
)
CHATTER = (
    "GPU available",
    "TPU available",
    "💡 Tip",
    "You are using a CUDA device",  # the advice would round k-means, and convolutions need none
    "Loading `train_dataloader`",
    "Seed set to",
    "Restoring states from",
    "Restored all states from",
    "Loaded model weights from",
)
# Whichever of Lightning's packages is imported last speaks for all.
CHATTY_LOGGERS = tuple(
    f"{package}.utilities.{name}"
    for package in (
        "pytorch_lightning",
        "lightning_fabric",
        "lightning.pytorch",
        "lightning.fabric",
    )
    for name in ("rank_zero", "seed")
)

RANK = re.compile(r"^\[rank: \d+\] ")  # what Lightning puts before the messages of a process

# What jsonargparse says around the reason for a refusal.
FRAME = re.compile(
    r"(- )?(Does not validate against any|Subtypes:|Errors:|Expected a <class 'NoneType'>"
    r"|Not a valid subclass|Subclass types expect one of|a class path \(str\)|a dict with"
    r"|Expected a path but .* either not accessible)"
)
# What is said of a value of the wrong type.
EXPECTED = (
    (
        re.compile(r"Expected a <class '(?:list|collections\.abc\.Sequence)'>"),
        "write a list as [A,B]",
    ),
    (re.compile(r"Expected a <class 'dict'>"), "write a mapping as '{\"NAME\": VALUE}'"),
    (
        re.compile(r"Expected a dot import path string: (\w+)$"),
        r"no such class is known; check the spelling or give its import path (package.module.\1)",
    ),
    (re.compile(r"Expected a <class 'float'>"), "must be a number"),
    (re.compile(r"Expected a <class 'int'>"), "must be a whole number"),
    (re.compile(r"Expected a <class 'bool'>"), "must be true or false"),
    (re.compile(r"Expected a typing\.Literal\[(.*?)\]"), r"must be one of \1"),
    (re.compile(r"\. Got value: "), ", got "),
)
PROBLEM = re.compile(r"(?:Problem with given class_path '.*'|Parser key \"(?P<key>.*)\"):")


def one_line(message: str, command: str = "") -> str:
    """Reduce what an argument parser says to the line that helps.

    Args:
        message: The parser's message, often a tree of all that it has tried.
        command: Sub-command, whose name is then left out of the names of options.

    Returns:
        The option, where the parser names it, and the reasons.
    """
    keys, reasons = [], []
    for line in map(str.strip, message.splitlines()):
        if line.startswith("Given value"):
            break
        problem = PROBLEM.match(line.removeprefix("- "))
        if problem and (key := problem["key"]):
            keys.append(key)
        rest = line.removeprefix("- ")[problem.end() :] if problem else line.removeprefix("- ")
        if rest.strip() and not FRAME.match(line):
            reason = rest.strip().rstrip(".;")
            for pattern, words in EXPECTED:
                reason = pattern.sub(words, reason)
            reasons.append(reason)
    # Of an option whose value is refused it is also said that there is no such option.
    known = [f"Option '{key.rpartition('.')[2]}' is not accepted" for key in keys[-1:]]
    reasons = [reason for reason in reasons if reason not in known] or reasons
    option = f"--{'.'.join(keys)}: " if keys else ""
    text = option + "; ".join(dict.fromkeys(reasons))
    return text.replace(f"--{command}.", "--").replace(f" {command}.", " --")


def first_of(faults: Sequence[str]) -> str:
    """Return the first of several faults, and how many more there are."""
    more = len(faults) - 1
    return f"{faults[0]}, and {more} more like it" if more else faults[0]


@contextmanager
def plain_messages() -> Iterator[None]:
    """Show warnings as one line without the place in the code; hide those that are harmless."""
    original = warnings.formatwarning
    loggers = [logging.getLogger(name) for name in CHATTY_LOGGERS]
    with warnings.catch_warnings():
        for pattern in IGNORED_WARNINGS:
            warnings.filterwarnings("ignore", pattern)
        for logger in loggers:
            logger.addFilter(_is_news)
        warnings.formatwarning = _formatted  # type: ignore[assignment]
        try:
            yield
        finally:
            warnings.formatwarning = original
            for logger in loggers:
                logger.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not RANK.sub("", record.getMessage()).startswith(CHATTER)


def _formatted(message: Warning | str, *_: object) -> str:
    return f"warning: {' '.join(str(message).split())}\n"
