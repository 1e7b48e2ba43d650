"""Measures per case, the callback that takes them, and training-free rivals."""
