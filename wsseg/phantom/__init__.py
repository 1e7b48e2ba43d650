"""Synthetic brain tumour patients made from a real brain atlas: data without a download."""

from __future__ import annotations

from wsseg.phantom.writing import write_phantom

__all__ = ["write_phantom"]
