"""Reads YAML in which nothing is said twice."""

from __future__ import annotations

from typing import Any

MERGE = "tag:yaml.org,2002:merge"  # of the key `<<`, which may come several times


def load_yaml(text: str) -> Any:
    """Read YAML; a key that comes twice is an error, where YAML's own would lose the first.

    Args:
        text: The document.

    Raises:
        yaml.YAMLError: It is not valid.
    """
    import yaml

    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        _check_keys(node)  # now, since making values of nodes merges mappings into others
        return None if node is None else loader.construct_document(node)
    finally:
        loader.dispose()


def _check_keys(document: Any) -> None:
    """Refuse a document in which a mapping has a key twice."""
    import yaml

    left, met = [document], set()
    while left:
        node = left.pop()
        if id(node) in met or not isinstance(node, yaml.CollectionNode):
            continue
        met.add(id(node))  # an alias may lead back here
        if isinstance(node, yaml.SequenceNode):
            left += node.value
            continue
        seen = set()
        for key, value in node.value:
            left.append(value)
            name = (key.tag, str(key.value))
            if key.tag != MERGE and name in seen:
                problem = f"the key `{key.value}` comes twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
            seen.add(name)
