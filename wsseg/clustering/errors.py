"""The error of this package for input that cannot be clustered."""

from __future__ import annotations


class ClusteringError(ValueError):
    """Something given to the clustering cannot be used.

    The message is one line: what is wrong, then what to do.
    """
