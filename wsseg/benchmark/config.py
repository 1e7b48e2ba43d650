"""The YAML file of a benchmark: its settings, read and checked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from wsseg.utils.documents import load_yaml
from wsseg.utils.errors import InputError

METHOD_KEYS = ("config", "overrides", "after", "baseline")
KEYS = ("phantom", "prepare", "store", "output", "methods", "seeds", "folds", "overrides")


@dataclass(frozen=True)
class Method:
    """One method: either a training configuration or a training-free baseline.

    Attributes:
        name: Name in the tables.
        config: Configuration for ``wsseg fit``, or None.
        overrides: Further arguments for ``wsseg fit``.
        baseline: A key of ``wsseg.evaluation.baselines.BASELINES``, or None.
        after: Name of the method whose checkpoint, of the same fold and seed, its training starts
            from as its first stage, or None.
    """

    name: str
    config: Path | None = None
    overrides: tuple[str, ...] = ()
    baseline: str | None = None
    after: str | None = None


@dataclass(frozen=True)
class BenchmarkConfig:
    """A grid of methods, seeds and folds on one store. Paths are relative to the current folder.

    Attributes:
        store: The slice store.
        output: Folder for runs, tables and pictures.
        methods: The methods, in table order.
        seeds: Seeds of every method.
        folds: Folds of the store.
        phantom: Arguments of ``write_phantom``, to make the source first; None if it is there.
        prepare: Arguments of ``prepare``, to make the store first; None if it is there.
    """

    store: Path
    output: Path
    methods: tuple[Method, ...]
    seeds: tuple[int, ...] = (0,)
    folds: tuple[int, ...] = (0,)
    phantom: dict[str, Any] | None = None
    prepare: dict[str, Any] | None = None


def load_config(path: Path) -> BenchmarkConfig:
    """Read and check a benchmark's YAML file.

    Args:
        path: The file.

    Raises:
        InputError: It is missing, or says something that no benchmark can do.
    """
    try:
        plain = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}; give a benchmark's YAML file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: is not valid YAML ({reason}); correct it") from error
    if not isinstance(plain, dict):
        raise InputError(f"{path}: is empty or not a mapping; it needs {', '.join(KEYS[2:5])}")
    if unknown := [str(key) for key in plain if key not in KEYS]:
        raise InputError(f"{path}: unknown key {unknown[0]!r}; known are {', '.join(KEYS)}")
    if missing := [key for key in KEYS[2:5] if not plain.get(key)]:
        raise InputError(f"{path}: `{missing[0]}` is missing; add it")
    for key in ("store", "output"):
        if not isinstance(plain[key], str):
            raise InputError(f"{path}: `{key}` is {plain[key]!r}; give a folder")
    if not isinstance(plain["methods"], dict):
        raise InputError(f"{path}: `methods` is not a mapping; give each method a name")
    common = _overrides(str(path), plain)
    methods = [_method(path, str(name), block, common) for name, block in plain["methods"].items()]
    _check_order(path, methods)
    return BenchmarkConfig(
        store=Path(plain["store"]),
        output=Path(plain["output"]),
        methods=tuple(methods),
        seeds=_integers(path, plain, "seeds"),
        folds=_integers(path, plain, "folds"),
        phantom=_block(path, plain, "phantom", ("out",)),
        prepare=_block(path, plain, "prepare", ("layout", "source", "out")),
    )


def _method(path: Path, name: str, block: Any, common: tuple[str, ...]) -> Method:
    from wsseg.evaluation.baselines import BASELINES

    where = f"{path}: method `{_line(name)}`"
    if not isinstance(block, dict) or ("config" in block) == ("baseline" in block):
        raise InputError(f"{where} needs exactly one of `config` and `baseline`; give one of them")
    if not name.replace("_", "").replace("-", "").replace(".", "").isalnum():
        raise InputError(f"{where} cannot name a folder; use letters, digits, `_`, `-` and `.`")
    if unknown := [str(key) for key in block if key not in METHOD_KEYS]:
        raise InputError(
            f"{where} has the unknown key {unknown[0]!r}; known are {', '.join(METHOD_KEYS)}"
        )
    if "baseline" in block:
        if len(block) > 1:
            raise InputError(f"{where} is a baseline and takes no other key; remove the others")
        if str(block["baseline"]) not in BASELINES:
            choices = ", ".join(BASELINES)
            raise InputError(f"{where} has an unknown baseline; choose one of {choices}")
        return Method(name, baseline=block["baseline"])
    config = Path(str(block["config"]))
    if not config.is_file():
        raise InputError(
            f"{where}: {_line(config)} does not exist; paths are relative to the current folder"
        )
    after = block.get("after")
    return Method(
        name,
        config,
        common + _overrides(where, block),
        after=None if after is None else str(after),
    )


def _line(text: object) -> str:
    """Write what a file says on one line."""
    return str(text).replace("\n", "\\n")


def _overrides(where: str, block: dict[str, Any]) -> tuple[str, ...]:
    overrides = block.get("overrides") or []
    if not isinstance(overrides, list):
        raise InputError(f"{where}: `overrides` is not a list; give [--OPTION=VALUE, ...]")
    if wrong := [each for each in overrides if not str(each).startswith("--")]:
        raise InputError(f"{where}: `overrides` has {wrong[0]!r}; give --OPTION=VALUE")
    return tuple(overrides)


def _check_order(path: Path, methods: Sequence[Method]) -> None:
    """Check that each `after` names a method that is trained and stands above in the file."""
    above: dict[str, Method] = {}
    names = [method.name for method in methods]
    for method in methods:
        if method.after is not None:
            where = f"{path}: method `{method.name}`: `after: {_line(method.after)}`"
            if method.after not in names:
                raise InputError(
                    f"{where} is not one of the methods; choose one of {', '.join(names)}"
                )
            if method.after not in above:
                raise InputError(f"{where} comes later in the file; change their order")
            if above[method.after].baseline is not None:
                raise InputError(
                    f"{where} is a baseline, which leaves no checkpoint; choose another"
                )
        above[method.name] = method


def _integers(path: Path, plain: dict[str, Any], key: str) -> tuple[int, ...]:
    values = plain.get(key, [0])
    values = values if isinstance(values, list) else [values]
    if not values or not all(type(value) is int and 0 <= value < 2**32 for value in values):
        raise InputError(f"{path}: `{key}` must be whole numbers of at least 0, such as [0, 1, 2]")
    return tuple(dict.fromkeys(values))


def _block(
    path: Path, plain: dict[str, Any], key: str, needed: tuple[str, ...]
) -> dict[str, Any] | None:
    block = plain.get(key)
    if block is None:
        return None
    if not isinstance(block, dict) or any(name not in block for name in needed):
        raise InputError(f"{path}: `{key}` must be a mapping with {', '.join(needed)}")
    return block
