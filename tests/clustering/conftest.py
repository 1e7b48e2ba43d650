"""A source of embeddings that needs no model, and the foreign project as a module."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep the tests to one thread each; they share the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def project() -> ModuleType:
    """The module ``foreign_project``."""
    return load("foreign_project")


@pytest.fixture(scope="session")
def toys() -> ModuleType:
    """The module ``toy_source``."""
    return load("toy_source")


@pytest.fixture(scope="session")
def classifiers() -> ModuleType:
    """The module ``classifiers``."""
    return load("classifiers")


def load(name: str) -> ModuleType:
    """Import a module from this folder by its own name (spawned processes do the same)."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]
