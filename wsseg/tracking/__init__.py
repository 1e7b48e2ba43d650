"""Pictures of a training, for whichever logger a run has."""

from wsseg.tracking.images import add_image
from wsseg.tracking.overlays import OverlayLogger

__all__ = ["OverlayLogger", "add_image"]
