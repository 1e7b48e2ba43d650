"""``wsseg report``: a page about a training, in one file."""

from wsseg.report.command import report

__all__ = ["report"]
