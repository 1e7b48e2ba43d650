"""Pictures of any size as grids of features, and masks back on the pictures' own pixels.

A picture is read window by window, and a fixed encoder turns each square *cell* of its pixels into
one vector. What remains, the *grid*, is a small image of many channels, which is prepared, trained
on and predicted as any other image is.
"""

from wsseg.compression.command import compress

__all__ = ["compress"]
