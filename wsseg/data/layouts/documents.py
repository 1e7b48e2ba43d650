"""Reads JSON and YAML files that describe data sets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wsseg.utils.documents import load_json, load_yaml
from wsseg.utils.errors import InputError


def read_document(path: Path) -> dict[str, Any]:
    """Read a JSON or YAML file that holds a mapping.

    Args:
        path: The file.

    Raises:
        InputError: It cannot be read or holds something else.
    """
    import yaml

    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the file that lists the cases")
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
        raise InputError(f"{path}: is not a mapping; it must describe a data set")
    return content
