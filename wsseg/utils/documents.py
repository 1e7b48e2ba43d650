"""Reads YAML and JSON strictly: duplicate keys, and documents that exhaust memory, are refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from wsseg.utils.errors import InputError

MERGE = "tag:yaml.org,2002:merge"  # the key `<<`, which a mapping may have several times
# A list of 1,250 patients has 30,000 values, for which PyYAML takes seconds. Aliases count as often
# as they occur: a few lines of aliases of aliases can stand for billions of values.
MOST_VALUES = 1_000_000
DEEPEST = 100  # nested levels; configurations have about six
LONGEST_QUOTE = 60  # characters of a wrong value that a message repeats


def load_yaml(text: str) -> Any:
    """Read YAML; a key that comes twice is an error (PyYAML would silently use the second).

    Args:
        text: The document.

    Raises:
        yaml.YAMLError: The document is not valid, holds a value that cannot be built, is nested
            too deeply, or has too many values, counting those behind aliases.

    Example:
        >>> load_yaml("model: {lr: 0.1}")
        {'model': {'lr': 0.1}}
        >>> load_yaml("{lr: 0.1, lr: 0.2}")
        Traceback (most recent call last):
        yaml.error.MarkedYAMLError: the key `lr` comes twice
        ...
    """
    loader = _BoundedLoader(text)
    try:
        node = loader.get_single_node()
        _check_keys(node)  # before construct_document, which merges keys of `<<` into mappings
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def check_yaml(text: str) -> None:
    """Refuse YAML that another reader could not cope with, or would take differently than meant.

    Args:
        text: The document.

    Raises:
        yaml.YAMLError: As of :func:`load_yaml`; values need not be such as can be built.
    """
    loader = _BoundedLoader(text)
    try:
        _check_keys(loader.get_single_node())
    finally:
        loader.dispose()


def load_json(text: str) -> Any:
    """Read JSON; a key that comes twice is an error (Python would silently use the second).

    Args:
        text: The document.

    Raises:
        ValueError: The document is not valid, or is nested too deeply.

    Example:
        >>> load_json('{"lr": 0.1, "lr": 0.2}')
        Traceback (most recent call last):
        ValueError: the key `lr` comes twice
    """
    try:
        return json.loads(text, object_pairs_hook=_mapping)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file that holds a mapping.

    Args:
        path: The file.

    Raises:
        InputError: It cannot be read or holds something else.
    """
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give a file")
    try:
        text = path.read_text(encoding="utf-8-sig")
        # The parser of JSON is a hundred times as fast, which long lists need.
        content = load_json(text) if path.suffix.lower() == ".json" else load_yaml(text)
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not encoded in UTF-8; save it as UTF-8 text") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the file") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: is not valid JSON at line {error.lineno}; correct it") from None
    except ValueError as error:
        raise InputError(f"{path}: is not usable JSON ({error}); correct it") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        why = getattr(error, "problem", None) or "it cannot be parsed"
        raise InputError(f"{path}: is not valid YAML{line} ({why}); correct the file") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: holds no names with values, such as `name: value`; correct it")
    return content


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested values by dotted names; tuples become lists.

    Example:
        >>> flat({"model": {"lr": 0.1, "widths": (8, 16)}})
        {'model.lr': 0.1, 'model.widths': [8, 16]}
    """
    found: dict[str, Any] = {}
    for name, value in content.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{key}": part for key, part in flat(value).items()}
        else:
            found[str(name)] = list(value) if isinstance(value, list | tuple) else value
    return found


class _BoundedLoader(yaml.SafeLoader):
    """Limits the number of values, and names the one that cannot be constructed."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._open: list[int] = []  # how many values each unfinished node holds so far
        self._sizes: dict[int, int] = {}  # how many a finished node holds, by its identity

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self._open.append(1)
        if len(self._open) > DEEPEST:
            raise _error(f"more than {DEEPEST} levels are nested", event)
        node = super().compose_node(parent, index)
        size = self._open.pop()
        if isinstance(event, yaml.AliasEvent):
            if id(node) not in self._sizes:
                raise _error(f"`*{event.anchor}` contains itself", event)
            size = self._sizes[id(node)]
        self._sizes[id(node)] = size
        if self._open:
            self._open[-1] += size
        if size > MOST_VALUES:
            raise _error(f"it stands for more than {MOST_VALUES} values", event)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception:  # parsers of PyYAML's types raise errors of many kinds
            kind = node.tag.rpartition(":")[2]
            value = str(node.value)[:LONGEST_QUOTE]
            raise _error(f"`{value}` is read as {kind} but is none; quote it", node) from None


def _error(problem: str, place: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=place.start_mark)


def _check_keys(document: Any) -> None:
    """Refuse a document in which a mapping has a key twice."""
    to_visit, visited = [document], set()
    while to_visit:
        node = to_visit.pop()
        if id(node) in visited or not isinstance(node, yaml.CollectionNode):
            continue
        visited.add(id(node))  # there may be many aliases of it
        if isinstance(node, yaml.SequenceNode):
            to_visit += node.value
            continue
        seen = set()
        for key, value in node.value:
            to_visit.append(value)
            if not isinstance(key, yaml.ScalarNode) or key.tag == MERGE:
                continue  # the constructor refuses lists and mappings as keys
            if (key.tag, key.value) in seen:
                raise _error(f"the key `{key.value}` comes twice", key)
            seen.add((key.tag, key.value))


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key `{twice}` comes twice")
    return mapping
