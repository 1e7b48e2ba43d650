"""``python -m wsseg`` is the ``wsseg`` command."""

import sys

from wsseg.cli import main

sys.exit(main())
