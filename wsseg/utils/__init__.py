"""Errors, files, processes, randomness and smoothing for all other parts; imports none of them."""
