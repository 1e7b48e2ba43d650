"""The ``wsseg`` command."""

from wsseg.cli.commands import main

__all__ = ["main"]
