"""The ``wsseg`` command: runs a sub-command, and imports only what that needs."""

from __future__ import annotations

import errno
import gc
import importlib
import sys
from argparse import ArgumentError
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import Parameter, signature

from wsseg import __version__
from wsseg.cli.messages import plain_messages, refusal
from wsseg.utils.errors import NO_SPACE, InputError
from wsseg.utils.system import keep_freed_memory

LIGHTNING = ""  # instead of the name of a function: a sub-command of LightningCLI
COMMANDS = {
    "phantom": ("wsseg.phantom:write_phantom", "Make synthetic patients for trying wsseg out"),
    "init": ("wsseg.inspection.init:init", "Look at a folder, and write a table to start from"),
    "check": ("wsseg.inspection.check:check", "Verify images and tags, and draw contact sheets"),
    "compress": ("wsseg.compression:compress", "Turn pictures of any size into grids of features"),
    "prepare": ("wsseg.data.preparation:prepare", "Turn images into a store of slices and tags"),
    "fit": (LIGHTNING, "Train on the tags of a prepared store"),
    "validate": (LIGHTNING, "Score a checkpoint on the validation split"),
    "test": (LIGHTNING, "Score a checkpoint on the test split, per case"),
    "predict": ("wsseg.prediction:predict", "Write masks for raw volumes with a checkpoint"),
    "report": ("wsseg.report:report", "Write a page about a training: clusters, curves, cases"),
    "export": ("wsseg.export:export", "Write a model as MONAI bundle, ONNX and torch.export"),
    "benchmark": ("wsseg.benchmark:benchmark", "Compare methods over seeds and folds"),
}
PARSER_OPTIONS = ("", "help", "config", "print_config")  # "" as in a bare "--"
DEBUG = "--debug"
LONGEST_REASON = 300  # characters of an unexpected error that are shown
REPORT = "wsseg did not expect this error; please report it with the saved traceback"
ADVICE = {
    errno.EACCES: "check the permissions or name another place",
    errno.EIO: "free some space, or check the disk",
    **dict.fromkeys(NO_SPACE, "free some space and run the command again"),
}


def main(args: list[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        args: Command-line arguments; by default those of the process.

    Returns:
        Exit status: 0; 2 if the input, or a file or folder, cannot be used; 130 if stopped; 1 after
        an error that wsseg did not expect, whose traceback is saved, or shown with ``--debug``.

    Example:
        >>> main(["--version"])
        wsseg ...
        0
    """
    given = sys.argv[1:] if args is None else args
    debug = DEBUG in given
    name, *rest = [argument for argument in given if argument != DEBUG] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"wsseg {__version__}")
        return 0
    if name not in COMMANDS:
        return _refuse(f"{name}: unknown command; see `wsseg --help`")
    try:
        return _run(name, rest)
    except InputError as error:
        return _refuse(str(error))
    except OSError as error:  # such as no permission or no space: not a fault of wsseg
        known = error.filename is not None and error.strerror
        problem = f"{error.filename}: {error.strerror}" if known else str(error)
        advice = ADVICE.get(error.errno or 0, "check the path, or name another")
        return _refuse(f"{' '.join(problem.split())}; {advice}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:  # of which nobody has thought
        if debug:
            raise
        return _unexpected(error)


def usage() -> str:
    """Return the text of ``wsseg --help``."""
    lines = [f"  {name:<11}{summary}" for name, (_, summary) in COMMANDS.items()]
    head = "usage: wsseg COMMAND ...\n\nPixel masks from image-level tags.\n\n"
    tail = (
        "\n\n`wsseg COMMAND --help` explains a command and its options; --debug shows\ntracebacks."
    )
    return head + "\n".join(lines) + tail


def _run(name: str, arguments: list[str]) -> int:
    target = COMMANDS[name][0]
    keep_freed_memory()
    if target == LIGHTNING:
        with quick_imports():
            from wsseg.cli.train import run

        run([name, *arguments])
        return 0
    import jsonargparse

    module, _, function = target.partition(":")
    with quick_imports():
        command = getattr(importlib.import_module(module), function)
    parameters = signature(command).parameters
    # The parser would report the first positional argument instead of an unknown option.
    for option in (argument.partition("=")[0] for argument in arguments):
        known = option[2:].partition(".")[0].rstrip("+") in (*parameters, *PARSER_OPTIONS)
        if option.startswith("--") and not known:
            raise InputError(f"{option}: unknown option; see `wsseg {name} --help`")
    try:
        with plain_messages():
            jsonargparse.auto_cli(
                command,
                args=arguments,
                prog=f"wsseg {name}",
                exit_on_error=False,
                allow_abbrev=False,
            )
    except ArgumentError as error:
        kind = Parameter.POSITIONAL_OR_KEYWORD
        positional = [parameter.name for parameter in parameters.values() if parameter.kind is kind]
        reason = refusal(error, positional=positional)
        raise InputError(f"{reason}; see `wsseg {name} --help`") from error
    return 0


def _refuse(message: str) -> int:
    for line in message.split("\n"):
        print(f"error: {line}", file=sys.stderr)
    return 2


def _unexpected(error: Exception) -> int:
    import tempfile
    import traceback

    handle, path = tempfile.mkstemp(prefix="wsseg-error-", suffix=".txt")
    with open(handle, "w", encoding="utf-8") as file:  # noqa: PTH123 (it is open already)
        file.writelines(traceback.format_exception(error))
    reason = " ".join(str(error).split())[:LONGEST_REASON]
    advice = "the machine has too little memory" if isinstance(error, MemoryError) else REPORT
    print(f"error: {type(error).__name__}: {reason}; {advice} ({path})", file=sys.stderr)
    return 1


@contextmanager
def quick_imports() -> Iterator[None]:
    """Exclude objects that are imported inside from garbage collection.

    Importing Lightning makes 670,000 permanent objects, which the garbage collector searches many
    times during the import and again when the process ends: `wsseg fit --help` took 3.4 s with it
    and takes 2.3 s without (two cores of an AMD EPYC).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
