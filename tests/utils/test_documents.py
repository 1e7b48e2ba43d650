"""YAML and JSON are read strictly, and nothing that they hold can exhaust the reader."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from wsseg.utils.documents import load_json, load_yaml, read_document
from wsseg.utils.errors import InputError

ALIASES = "a: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)
MERGES = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    "text",
    [
        "base: &A {x: 1}\nb: &B {<<: *A, x: 2}\nc: {<<: *B, y: 3}",
        "{1: a, '1': b}",
        "a: {<<: {x: 1}, <<: {y: 2}}",
        "a: &A [1, 2]\nb: [*A, *A]",
        "a: " + "[" * 90 + "]" * 90,
        "",
        "3",
    ],
)
def test_yaml_is_read_as_usual(text: str) -> None:
    assert repr(load_yaml(text)) == repr(yaml.safe_load(text))


@pytest.mark.parametrize("text", ["a: 1\nb: 2\na: 3", "a: [{b: {x: 1, x: 1}}]", "{1: a, 1: b}"])
def test_keys_that_come_twice(text: str) -> None:
    with pytest.raises(yaml.YAMLError, match="comes twice"):
        load_yaml(text)


def test_keys_that_come_twice_in_json() -> None:
    assert load_json('{"a": [{"b": 1}, {"b": 2}]}') == {"a": [{"b": 1}, {"b": 2}]}
    with pytest.raises(ValueError, match="the key `b` comes twice"):
        load_json('{"a": [{"b": 1, "c": 3, "b": 2}]}')


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (ALIASES, "at line 6 (it stands for more than 1000000 values)"),
        (MERGES, "(it stands for more than 1000000 values)"),
        (ALIASES.replace("b9:", "? ") + ": 1", "it stands for more than"),
        ("a: &A [*A]", "at line 1 (`*A` contains itself)"),
        ("a: &A\n  b: *A", "at line 2 (`*A` contains itself)"),
        ("[" * 100_000, "more than 100 levels are nested"),
        ("{a: " * 100_000, "more than 100 levels are nested"),
        ("\n".join(" " * n + "a:" for n in range(1000)), "more than 100 levels are nested"),
        (
            "a:\n- b\n- 2019-25-01",
            "at line 3 (`2019-25-01` is read as timestamp but is none",
        ),
        ("a: !!timestamp foo", "`foo` is read as timestamp but is none; quote it"),
        ("a: !!int foo", "`foo` is read as int but is none"),
        ("a: !!int ''", "`` is read as int but is none"),
        ("a: !!bool maybe", "`maybe` is read as bool but is none"),
        (f"a: {'9' * 5000}", f"`{'9' * 60}` is read as int but is none"),
        ("a: !!binary ö", "at line 1"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("[a]: 1", "unhashable key"),
        ("a: *b", "undefined alias"),
        ("a: \x00", "is not valid YAML"),
    ],
)
def test_yaml_that_cannot_be_used(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(text)
    message = refused(path)
    assert message.startswith(f"{path}: is not valid YAML")
    assert problem in message


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"cases": 1, "cases": 2}', "the key `cases` comes twice"),
        ('{"a": ' * 100_000, "it is nested too deeply"),
        (f'{{"a": {"9" * 5000}}}', "is not usable JSON"),
        ('{"a": 1,\n b: 2}', "is not valid JSON at line 2"),
    ],
)
def test_json_that_cannot_be_used(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(text)
    assert problem in refused(path)


@pytest.mark.parametrize("name", ["list.yaml", "list.json"])
def test_binary_content(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(256)))
    refused(tmp_path / name)


def refused(path: Path) -> str:
    """Return the message about a document, which comes at once."""
    began = time.monotonic()
    with pytest.raises(InputError) as caught:
        read_document(path)
    assert time.monotonic() - began < 5
    assert "\n" not in str(caught.value)
    return str(caught.value)
