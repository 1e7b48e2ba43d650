"""Fixtures of others that tests of inspection need, too."""

from tests.data.readers.conftest import write_slice

__all__ = ["write_slice"]
