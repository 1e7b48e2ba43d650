"""Synthetic brain tumour patients made from a real brain atlas: data without a download.

The numbers in this package are the recipe of one data set: sizes in mm, intensities beside white
matter's 1 in T1, and the spread of both over patients. They were chosen by hand, so that pictures
look like those of patients and a threshold or plain class activation maps fail as they do there;
none of them was measured on patients or tuned for a method. Numbers that only one line uses stand
in that line. Changing any of them makes other patients, with which older results do not compare.
"""

from __future__ import annotations

from wsseg.phantom.writing import write_phantom

__all__ = ["write_phantom"]
