"""A CSV log of a run, which a resumed run continues."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, cast

from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from wsseg.utils.files import naming

LOGS = "logs"
"""Name of the log's folder."""


class RunLogger(CSVLogger):
    """Logs to ``logs/metrics.csv``, and keeps the rows of the run that is resumed.

    Lightning's CSV logger would delete them.
    """

    def __init__(self, save_dir: str, version: str = "", keep_until: int = 0) -> None:
        """Set the folder, and read the rows to keep.

        Args:
            save_dir: The run's folder.
            version: Subfolder of ``logs``.
            keep_until: Step before which rows of an existing file are kept.
        """
        super().__init__(save_dir, name=LOGS, version=version)
        self._earlier = read_rows(Path(self.log_dir) / "metrics.csv", keep_until)

    @property
    def experiment(self) -> ExperimentWriter:
        """Return the writer of the file, which begins with the earlier rows."""
        writer = super().experiment
        if self._earlier and isinstance(writer, ExperimentWriter):  # only process 0 has one
            writer.metrics[:0], self._earlier = self._earlier, []
        return cast("ExperimentWriter", writer)

    def save(self) -> None:
        """Write the rows."""
        with naming(Path(self.log_dir) / "metrics.csv"):
            super().save()


def read_rows(path: Path, until: int) -> list[dict[str, Any]]:
    """Read the rows of a ``metrics.csv`` that belong to earlier steps.

    Args:
        path: The file; it need not exist.
        until: Step before which rows are wanted.
    """
    if until <= 0 or not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = [{key: value for key, value in row.items() if value} for row in csv.DictReader(file)]
    return [row for row in rows if int(row.get("step", until)) < until]
