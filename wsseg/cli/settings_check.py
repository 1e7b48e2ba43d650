"""``python -m wsseg.cli.settings_check fit ...``: makes all parts of a training; trains nothing.

``wsseg benchmark`` checks the settings of all methods with it before it trains the first.
"""

from __future__ import annotations

import sys
from typing import Any

from wsseg.cli.train import WssegCLI, run
from wsseg.utils.errors import InputError


class SettingsCheck(WssegCLI):
    """Makes data, model and trainer as a training would, and leaves no file."""

    def before_instantiate_classes(self) -> None:
        """Leave the run's folder alone: it may hold a run that a benchmark resumes."""
        self.checkpoint: dict[str, Any] = {}

    def before_fit(self) -> None:
        """Read the splits of the fold."""
        self.datamodule.setup("fit")

    def fit(self, **parts: Any) -> None:
        """Train nothing."""

    def after_fit(self) -> None:
        """Print nothing."""


def main(arguments: list[str]) -> int:
    """Check the settings of a training.

    Args:
        arguments: ``fit`` and its options.

    Returns:
        Exit status: 0; 2 if the settings cannot be used, which standard error says why.
    """
    try:
        run(arguments, SettingsCheck)
    except (InputError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
