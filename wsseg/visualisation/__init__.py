"""Slices, maps and masks as pictures."""
