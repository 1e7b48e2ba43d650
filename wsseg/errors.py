"""The one exception that means "the input is wrong", as opposed to "wsseg is wrong"."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message is one line, ``<file or argument>: <what is wrong>; <what to do>``. The command
    line prints it without a traceback and exits with status 2.
    """
