"""Volumes, slices and the stores between them."""
