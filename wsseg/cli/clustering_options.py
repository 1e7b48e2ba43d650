"""``--clustering.*``: short names for the options of the callback, wherever it is in the list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from inspect import signature
from pydoc import locate
from typing import Any, get_type_hints

import docstring_parser
from jsonargparse import SUPPRESS, ArgumentParser, Namespace

from wsseg.clustering import ClusteringOptions, ClusterReSupervision
from wsseg.utils.errors import InputError

GROUP = "clustering"
OF_CALLBACK = ("warmup_epochs", "every_n_epochs", "scorer", "views")
OF_CLUSTERING = tuple(field.name for field in fields(ClusteringOptions))


def add_clustering_options(parser: ArgumentParser) -> None:
    """Add the options, which have no values unless they are given.

    Args:
        parser: Parser of a command that makes a trainer.
    """
    group = parser.add_argument_group(
        "Cluster-Re-Supervision",
        "Short names for the options of the callback ClusterReSupervision, which must be among "
        "trainer.callbacks",
    )
    told = (ClusterReSupervision.__init__, OF_CALLBACK), (ClusteringOptions, OF_CLUSTERING)
    for owner, names in told:
        hints, parameters = get_type_hints(owner), signature(owner).parameters
        parsed = docstring_parser.parse(owner.__doc__ or "")
        texts = {one.arg_name: " ".join((one.description or "").split()) for one in parsed.params}
        for name in names:
            default = parameters[name].default
            known = "" if default is None else f" (default: {default})"
            text = texts[name].replace("%", "%%") + known
            group.add_argument(f"--{GROUP}.{name}", type=hints[name], default=SUPPRESS, help=text)


def give_to_callback(settings: Namespace, options: Sequence[str]) -> None:
    """Move the short options of a configuration to the callback's own, which they override.

    Args:
        settings: The configuration of a command.
        options: Options of the command line.

    Raises:
        InputError: There is no such callback, or an option was also given by its long name.
    """
    if GROUP not in settings:
        return
    given: dict[str, Any] = dict(vars(settings.pop(GROUP)))
    listed = settings.trainer.callbacks or []
    callbacks = [
        each for each in (listed if isinstance(listed, list) else [listed]) if _is_it(each)
    ]
    if not callbacks:
        raise InputError(
            f"--{GROUP}.{next(iter(given))}: the configuration has no callback "
            "ClusterReSupervision; leave the option out, or add "
            "--trainer.callbacks+=ClusterReSupervision"
        )
    for name, value in given.items():
        part = "" if name in OF_CALLBACK else f"{GROUP}."
        long = f"--trainer.callbacks.{part}{name}"
        if any(f"{option.partition('=')[0]}.".startswith(f"{long}.") for option in _own(options)):
            raise InputError(f"{long}: is also set as {GROUP}.{name}; give --{GROUP}.{name} alone")
        for callback in callbacks:
            callback[f"init_args.{part}{name}"] = value


def _own(options: Sequence[str]) -> list[str]:
    """Leave out options that follow another callback on the command line, since they are its own.

    Example:
        >>> _own(["--trainer.callbacks+=ModelCheckpoint", "--trainer.callbacks.every_n_epochs=4"])
        []
    """
    own, others = [], False
    for option in options:
        if option.startswith("--trainer.callbacks+"):
            others = not option.endswith(ClusterReSupervision.__name__)
        elif not others:
            own.append(option)
    return own


def _is_it(callback: Namespace) -> bool:
    kind = locate(callback.class_path)
    return isinstance(kind, type) and issubclass(kind, ClusterReSupervision)
