from __future__ import annotations

import pytest
import yaml

from wsseg.utils.yaml_text import load_yaml


@pytest.mark.parametrize(
    "text",
    [
        "base: &A {x: 1}\nb: &B {<<: *A, x: 2}\nc: {<<: *B, y: 3}",
        "{1: a, '1': b}",
        "a: {<<: {x: 1}, <<: {y: 2}}",
        "a: &A [*A]",
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
