"""Strategies that change valid files: by their bytes, or by the structure of what they hold."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[Any]], Any]
MOST_CHANGES = 3
# What lies at the ends of ranges, where readers are mistaken.
NUMBERS = (0, 1, -1, 2, 7, 127, 255, 256, 32767, 65535, -32768, 2**31 - 1, 2**31, 2**63, 10**30)
FRACTIONS = (0.0, -0.0, 0.5, -1.5, 1e-30, 1e30, float("nan"), float("inf"), -float("inf"))
TEXTS = ("", " ", "a", "0", "1_0", "nan", ".", "..", "../a", "/", "\0", "\n", "\u202e", "ä", "~")
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NUMBERS),
    st.sampled_from(FRACTIONS),
    st.sampled_from(TEXTS),
    st.text(max_size=8),
    st.sampled_from(([], {}, [[]], {"a": 1}, [None], ["a", "a"], [1.5], [[0], [1]])).map(
        copy.deepcopy
    ),
)


@st.composite
def changed_bytes(draw: Draw, seeds: Sequence[bytes]) -> bytes:
    """Change a file in up to three places: flip, overwrite, cut, insert, delete, repeat, splice."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, MOST_CHANGES))):
        where = draw(st.integers(0, max(0, len(content) - 1)))
        until = min(len(content), where + draw(st.sampled_from((1, 2, 4, 8, 64, 1000))))
        kind = draw(st.sampled_from(("flip", "put", "cut", "insert", "delete", "repeat", "splice")))
        if kind == "flip" and content:
            content[where] ^= 1 << draw(st.integers(0, 7))
        elif kind == "put":
            number = draw(st.sampled_from(NUMBERS)) % 2**64
            size = draw(st.sampled_from((1, 2, 4, 8)))
            order = draw(st.sampled_from(("little", "big")))
            content[where : where + size] = (number % 256**size).to_bytes(size, order)
        elif kind == "cut":
            del content[where:]
        elif kind == "insert":
            content[where:where] = draw(st.binary(max_size=16))
        elif kind == "delete":
            del content[where:until]
        elif kind == "repeat":
            content[where:where] = content[where:until]
        elif kind == "splice":
            other = draw(st.sampled_from(seeds))
            content[where:] = other[min(where, len(other)) :]
    return bytes(content)


@st.composite
def changed_tree(draw: Draw, tree: Any) -> Any:
    """Change up to three values of nested mappings and lists: replace, drop, repeat, rename."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, MOST_CHANGES))):
        holders = [each for each in containers(tree) if each]
        if not holders:
            break
        holder = draw(st.sampled_from(holders))
        keys = list(holder) if isinstance(holder, dict) else range(len(holder))
        key = draw(st.sampled_from(keys))
        kind = draw(st.sampled_from(("replace", "replace", "drop", "repeat", "rename")))
        if kind == "drop":
            del holder[key]
        elif kind == "repeat" and isinstance(holder, list):
            holder.insert(key, copy.deepcopy(holder[key]))
        elif kind == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from((*TEXTS, 3, None)))] = holder.pop(key)
        else:
            holder[key] = draw(VALUES)
    return tree


def containers(tree: Any) -> list[Any]:
    """Return all mappings and lists of a tree, the outermost first."""
    if not isinstance(tree, dict | list):
        return []
    inner = tree.values() if isinstance(tree, dict) else tree
    return [tree, *(each for part in inner for each in containers(part))]
