"""``python -m wsseg`` is the ``wsseg`` command."""

import sys

from wsseg.cli import main

if __name__ == "__main__":
    sys.exit(main())
