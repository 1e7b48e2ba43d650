"""The ``wsseg`` command: picks a sub-command and imports no more than that needs."""

from __future__ import annotations

import importlib
import sys
from argparse import ArgumentError

from wsseg import __version__
from wsseg.allocation import keep_freed_memory
from wsseg.errors import InputError
from wsseg.importing import quick_imports
from wsseg.messages import one_line, plain_messages

LIGHTNING = ""  # instead of a function: a command of LightningCLI
COMMANDS = {
    "phantom": ("wsseg.phantom:write_phantom", "Make synthetic patients to try everything on"),
    "prepare": ("wsseg.data.preparation:prepare", "Turn volumes into a slice store"),
    "fit": (LIGHTNING, "Train on the tags of a prepared store"),
    "validate": (LIGHTNING, "Run the validation split through a checkpoint"),
    "test": (LIGHTNING, "Score a checkpoint on the test split, case by case"),
    "predict": ("wsseg.prediction:predict", "Write masks for raw volumes with a checkpoint"),
    "benchmark": ("wsseg.benchmark:benchmark", "Compare methods over seeds and folds"),
}


def main(args: list[str] | None = None) -> int:
    """Run one sub-command.

    Args:
        args: Command-line arguments; by default those of the process.

    Returns:
        Exit status: 0, or 2 if the input, or a file or folder, cannot be used.
    """
    name, *rest = (sys.argv[1:] if args is None else args) or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return 0
    if name == "--version":
        print(f"wsseg {__version__}")
        return 0
    if name not in COMMANDS:
        return _refuse(f"{name}: is no command of wsseg; `wsseg --help` lists them")
    try:
        return _run(name, rest)
    except InputError as error:
        return _refuse(str(error))
    except OSError as error:  # no permission, no space: of the system, not of wsseg
        known = error.filename is not None and error.strerror
        return _refuse(f"{error.filename}: {error.strerror}" if known else str(error))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def usage() -> str:
    """Return the text of ``wsseg --help``."""
    lines = [f"  {name:<11}{summary}" for name, (_, summary) in COMMANDS.items()]
    head = "usage: wsseg COMMAND ...\n\nPixel masks from image-level tags.\n\n"
    tail = "\n\n`wsseg COMMAND --help` explains a command and its options."
    return head + "\n".join(lines) + tail


def _run(name: str, arguments: list[str]) -> int:
    target = COMMANDS[name][0]
    keep_freed_memory()
    if target == LIGHTNING:
        with quick_imports():
            from wsseg.lightning_cli import run

        run([name, *arguments])
        return 0
    import jsonargparse

    module, _, function = target.partition(":")
    with quick_imports():
        command = getattr(importlib.import_module(module), function)
    try:
        with plain_messages():
            jsonargparse.auto_cli(
                command, args=arguments, prog=f"wsseg {name}", exit_on_error=False
            )
    except ArgumentError as error:
        raise InputError(f"{one_line(str(error))}; see `wsseg {name} --help`") from error
    return 0


def _refuse(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
