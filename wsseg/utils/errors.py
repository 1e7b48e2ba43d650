"""The one exception that means "the input is wrong", as opposed to "wsseg is wrong"."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

MOST = 20  # faults that are reported together

Given = ParamSpec("Given")
Result = TypeVar("Result")


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line, ``<file or argument>: <what is wrong>; <what to do>``, or one for
    each of several. The command line prints it without a traceback and exits with status 2.
    """


def attempt(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result | InputError:
    """Call a function whose input may be wrong, so that the next ones are tried all the same.

    Returns:
        What the function returns, or the error that says why its input cannot be used.
    """
    try:
        return function(*args, **kwargs)
    except InputError as error:
        return error


def partition(outcomes: Iterable[Result | InputError]) -> tuple[list[Result], list[InputError]]:
    """Separate what attempts have returned from the errors among it.

    Args:
        outcomes: What attempts have returned.
    """
    good: list[Result] = []
    faults: list[InputError] = []
    for outcome in outcomes:
        if isinstance(outcome, InputError):
            faults.append(outcome)
        else:
            good.append(outcome)
    return good, faults


def results(outcomes: Iterable[Result | InputError]) -> list[Result]:
    """Return the results if there is no error among them.

    Args:
        outcomes: What attempts have returned.

    Raises:
        InputError: There is; each is reported on a line, up to ``MOST``.
    """
    good, faults = partition(outcomes)
    if faults:
        lines = list(map(str, faults[:MOST]))
        if len(faults) > MOST:
            more = f"and {len(faults) - MOST} more like these"
            lines.append(f"{more}; fix the ones above and run the command again")
        raise InputError("\n".join(lines))
    return good
