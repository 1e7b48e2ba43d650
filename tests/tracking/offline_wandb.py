"""What an offline run of wandb holds, read back from its file."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BLOCK, HEADER, LENGTH_OF_IDENT = 32768, 7, 7  # of the log format of LevelDB, which wandb uses
FULL, LAST = 1, 4
LONGEST_WAIT = 60.0  # seconds


def read_run(folder: Path) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Return the configuration and what was logged, every value of each name.

    wandb's own process writes the file, and may not have ended when the run has.

    Args:
        folder: ``offline-run-*``.
    """
    from wandb.proto.wandb_internal_pb2 import Record

    (path,) = folder.glob("*.wandb")
    config: dict[str, Any] = {}
    logged: dict[str, list[Any]] = {}
    until = time.monotonic() + LONGEST_WAIT
    while True:
        records = [Record.FromString(content) for content in _records(path.read_bytes())]
        if any(record.HasField("exit") for record in records):
            break
        assert time.monotonic() < until, "the run has not ended"
        time.sleep(0.1)
    for record in records:
        for update in (*record.run.config.update, *record.config.update):
            config[update.key or ".".join(update.nested_key)] = json.loads(update.value_json)
        for item in record.history.item:
            name = item.key or ".".join(item.nested_key)
            logged.setdefault(name, []).append(json.loads(item.value_json))
    return config, logged


def _records(content: bytes) -> Iterator[bytes]:
    assert content.startswith(b":W&B")
    position, parts = LENGTH_OF_IDENT, b""
    while position + HEADER <= len(content):
        left = BLOCK - position % BLOCK
        if left < HEADER:  # the rest of a block that holds no header is padding
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        position += HEADER
        if position + length > len(content):  # it is being written
            return
        parts += content[position : position + length]
        position += length
        if kind in (FULL, LAST):
            yield parts
            parts = b""
