"""What a run logs: pictures, tables and lines of progress."""

from wsseg.tracking.images import add_image
from wsseg.tracking.overlays import OverlayLogger

__all__ = ["OverlayLogger", "add_image"]
