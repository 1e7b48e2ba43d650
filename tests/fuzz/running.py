"""Runs a property on mutated inputs: a few in the tests, or as long as ``WSSEG_FUZZ`` says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy

from tests.bounds import no_longer_than, no_more_memory_than
from wsseg.utils.errors import InputError

SECONDS = float(os.environ.get("WSSEG_FUZZ", "0"))  # for each format
LONGEST = 10.0  # seconds of the processor for one input; what takes longer hangs
MOST_MEMORY = 2**29  # bytes, beside what the process already holds


def fuzz(
    inputs: SearchStrategy[Any],
    holds: Callable[[Any], None],
    kept: Iterable[Any] = (),
    few: int = 20,
) -> None:
    """Check that a property holds.

    Args:
        inputs: Strategy of the inputs.
        holds: Fails on an input for which the property does not hold.
        kept: Inputs that were found by earlier runs, which come first.
        few: How many inputs the tests try. They are the same in each run.
    """
    for each in kept:
        holds(each)
    end = time.monotonic() + SECONDS
    tried = 0

    @settings(
        max_examples=500 if SECONDS else few,
        derandomize=not SECONDS,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=list(Phase) if SECONDS else [Phase.generate],  # small inputs are for those who mend
    )
    @given(inputs)
    def check(found: Any) -> None:
        nonlocal tried
        if not SECONDS or time.monotonic() < end:
            tried += 1
            holds(found)

    check()
    while time.monotonic() < end:
        check()
    print(f"{tried} inputs")


def right_or_refused(read: Callable[[], Any], name: Path | str) -> Any:
    """Return what a reader returns, or None if it refuses its input as it should.

    Args:
        read: Reads the input, within bounds of time and memory.
        name: What each line of a refusal must name.
    """
    with no_longer_than(LONGEST), no_more_memory_than(MOST_MEMORY):
        try:
            return read()
        except InputError as error:
            lines = str(error).split("\n")
    assert all(str(name) in line for line in lines), lines
    assert all(line.isprintable() for line in lines), lines
    assert all("; " in line or "must be" in line for line in lines), lines  # says what to do
    return None
