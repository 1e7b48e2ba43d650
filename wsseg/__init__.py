"""Pixel masks from image-level tags, for multi-modal medical images."""

__version__ = "0.1.0"
