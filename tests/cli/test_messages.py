"""What a user gets to read."""

from __future__ import annotations

import logging
import logging.handlers
import warnings

import pytest

from wsseg.cli.messages import CHATTY_LOGGERS, one_line, plain_messages

UNION = """Parser key "model":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'LightningModule'>, <class 'NoneType'>]
  Errors:
    - Problem with given class_path 'wsseg.models.CamModule':
        Parser key "lr":
          Expected a <class 'float'>. Got value: abc
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: NestedArg(key='lr', val='abc')
"""


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (UNION, "--model.lr: must be a number, got abc"),
        ("unrecognized arguments: --data.rot=3", "unrecognized arguments: --data.rot=3"),
        (
            "the following arguments are required: fit.data.root",
            "the following arguments are required: --data.root",
        ),
        ("first.\n- second\n  - second", "first; second"),
        (
            "--widths: Expected a <class 'list'>. Got value: 8",
            "--widths: write a list as [A,B], got 8",
        ),
        (
            "--model: Expected a dot import path string: Foo",
            "--model: no such class is known; check the spelling or give its import path "
            "(package.module.Foo)",
        ),
        (
            "Parser key \"k\":\n  Expected a <class 'int'>. Got value: 1.5\n"
            "- Option 'k' is not accepted",
            "--k: must be a whole number, got 1.5",
        ),
        (
            "Parser key \"logger\":\n  - Expected a <class 'bool'>\n"
            "  - Option 'foo' is not accepted",
            "--logger: must be true or false; Option 'foo' is not accepted",
        ),
    ],
)
def test_a_parsers_account_becomes_one_line(message: str, expected: str) -> None:
    assert one_line(message, "fit") == expected


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
    with plain_messages(), warnings.catch_warnings(record=True) as caught:
        warnings.warn("The 'train_dataloader' does not have many workers", stacklevel=1)
        warnings.warn("the loss is NaN", stacklevel=1)
        logger.warning("GPU available: False, used: False")
        logger.warning("[rank: 1] Seed set to 0")
        logger.warning("`Trainer.fit` stopped")
    logger.removeHandler(shown)
    assert [str(each.message) for each in caught] == ["the loss is NaN"]
    assert [each.getMessage() for each in shown.buffer] == ["`Trainer.fit` stopped"]
    assert not logger.filters
