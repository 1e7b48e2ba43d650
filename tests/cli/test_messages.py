"""What a user gets to read."""

from __future__ import annotations

import logging
import logging.handlers
import warnings
from argparse import ArgumentError
from typing import Literal

import pytest
from jsonargparse import ArgumentParser

from wsseg.cli.messages import CHATTY_LOGGERS, plain_messages, refusal


def parser() -> ArgumentParser:
    result = ArgumentParser(exit_on_error=False)
    result.add_subclass_arguments(logging.Handler, "handler")
    result.add_argument("--widths", type=list[int])
    result.add_argument("--rate", type=float | None)
    result.add_argument("layout", type=Literal["brats", "lgg"])
    result.add_argument("--needed", required=True, type=int)
    return result


@pytest.mark.parametrize(
    ("options", "named", "why"),
    [
        ("--rate=abc", "--rate: ", "Got value: abc"),
        ("--widths=8", "--widths: ", "Got value: 8"),
        ("--handler=logging.FileHandler --handler.delay=5", "--handler.delay: ", "Got value: 5"),
        ("--handler=logging.FileHandler --handler.dela=5", "--handler: ", "'dela'"),
        ("--handler=NoSuchHandler", "--handler: ", "NoSuchHandler"),
        ("--nonsense=3", "", "--nonsense=3"),
        ("bratz", "layout: ", "Got value: bratz"),
        ("brats", "", "needed"),
    ],
)
def test_a_refusal_names_the_option_and_the_reason(options: str, named: str, why: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parser().parse_args(options.split())
    line = refusal(caught.value, positional=["layout"])
    assert line.startswith(named)
    assert why in line
    assert "\n" not in line


def test_the_command_is_no_part_of_an_option() -> None:
    error = ValueError("the following arguments are required: fit.data.root")
    assert refusal(error, "fit") == "the following arguments are required: --data.root"


def test_warnings_are_one_line_and_only_inside(capsys: pytest.CaptureFixture[str]) -> None:
    before = warnings.formatwarning
    with plain_messages():
        assert warnings.formatwarning("two\n lines", UserWarning, "a.py", 1) == (
            "warning: two lines\n"
        )
    assert warnings.formatwarning is before


def test_harmless_messages_are_hidden_and_others_are_not() -> None:
    logger, shown = logging.getLogger(CHATTY_LOGGERS[0]), logging.handlers.BufferingHandler(9)
    logger.addHandler(shown)
    before = logger.level
    with plain_messages(), warnings.catch_warnings(record=True) as caught:
        warnings.warn("Checkpoint directory runs exists and is not empty.", stacklevel=1)
        warnings.warn("the loss is NaN", stacklevel=1)
        logger.info("GPU available: False, used: False")
        logger.warning("the run is not what it seems")
    logger.removeHandler(shown)
    assert [str(each.message) for each in caught] == ["the loss is NaN"]
    assert [each.getMessage() for each in shown.buffer] == ["the run is not what it seems"]
    assert logger.level == before
