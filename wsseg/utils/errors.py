"""The exception for wrong input, and functions that report several of them together."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Sequence
from typing import ParamSpec, TypeVar

MOST = 20  # lines that one message lists
NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, or what this user may use, is full

Given = ParamSpec("Given")
Result = TypeVar("Result")


class InputError(ValueError):
    r"""A file, argument or other input of the user's cannot be used.

    The message has one line, ``<file or argument>: <what is wrong>; <what to do>``, for each
    problem. The command line prints it without a traceback and exits with status 2. All other
    exceptions mean that wsseg itself has a fault.

    Example:
        >>> print(InputError("a\x1b[2J.nii: is damaged; copy it again"))  # would clear a terminal
        a\x1b[2J.nii: is damaged; copy it again
    """

    def __init__(self, message: object = "") -> None:
        """Escape what is not printable: names in a stranger's file must not steer a terminal."""
        shown = (
            one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in str(message)
        )
        super().__init__("".join(shown))


def attempt(
    function: Callable[Given, Result], *args: Given.args, **kwargs: Given.kwargs
) -> Result | InputError:
    """Call a function, and return its InputError instead of raising it.

    This way the errors of many inputs are found in one run; :func:`results` then raises them.

    Args:
        function: What to call.
        *args: Its positional arguments.
        **kwargs: Its keyword arguments.

    Returns:
        What the function returns, or the error that it raises.

    Example:
        >>> def read(name):
        ...     if name != "flair.nii":
        ...         raise InputError(f"{name}: is no volume; name another file")
        ...     return 155
        >>> [attempt(read, name) for name in ("flair.nii", "notes.txt")]
        [155, InputError('notes.txt: is no volume; name another file')]
    """
    try:
        return function(*args, **kwargs)
    except InputError as error:
        return error


def partition(outcomes: Iterable[Result | InputError]) -> tuple[list[Result], list[InputError]]:
    """Separate results from errors.

    Args:
        outcomes: Return values of :func:`attempt`.

    Returns:
        The results and the errors, in order.

    Example:
        >>> partition([155, InputError("notes.txt: is no volume; name another file")])
        ([155], [InputError('notes.txt: is no volume; name another file')])
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
    """Return the results, or raise all errors as one.

    Args:
        outcomes: Return values of :func:`attempt`.

    Raises:
        InputError: There are errors; the message has each line of theirs once, at most ``MOST``.

    Example:
        >>> results([155, InputError("a.nii: is empty"), InputError("b.nii: is empty")])
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: a.nii: is empty
        b.nii: is empty
    """
    good, faults = partition(outcomes)
    if faults:
        found = list(dict.fromkeys(line for fault in faults for line in str(fault).splitlines()))
        lines = found[:MOST]
        if len(found) > MOST:
            more = f"and {len(found) - MOST} more like these"
            lines.append(f"{more}; fix the ones above and run the command again")
        raise InputError("\n".join(lines))
    return good


def first_of(faults: Sequence[str]) -> str:
    """Describe several faults by the first one and the number of the others.

    Example:
        >>> first_of(["case ann has no mask", "case ben has no mask"])
        'case ann has no mask, and 1 more like it'
    """
    more = len(faults) - 1
    return f"{faults[0]}, and {more} more like it" if more else faults[0]


def check_option(valid: bool, option: str, value: float, expected: str) -> None:
    """Refuse a value of an option.

    Args:
        valid: Whether the value is valid; write conditions such that they do not hold for NaN.
        option: Name of the option, without dashes.
        value: What it was given.
        expected: What it must be.

    Raises:
        InputError: The value is not valid.
    """
    if not valid:
        shown = f"{value:g}" if isinstance(value, float) else value
        raise InputError(f"--{option} {shown}: must be {expected}")
