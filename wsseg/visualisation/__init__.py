"""Draws slices, maps and masks."""
