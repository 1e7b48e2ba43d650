"""A volume that is too large for the memory stops no other case."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

import torch

from wsseg.data.readers import Header
from wsseg.data.spec import DataSpec
from wsseg.utils.errors import InputError
from wsseg.utils.system import available_memory

# Bytes of a voxel for each modality and class at the peak, measured on volumes of 160 x 160 x 100
# (int16): 42 in all with one modality and class, 51 with three modalities, 72 with three classes.
OF_MODALITY, OF_CLASS = 4, 15
LARGER = "crop or resample it, give a smaller --batch_size, or use a computer with more memory"


def check_memory(path: Path, case: str, header: Header, spec: DataSpec) -> None:
    """Refuse a case that certainly takes more memory than there is.

    The system would end the process without a word, and the other cases would be lost.

    Args:
        path: Its first image.
        case: Its name.
        header: Of its first image.
        spec: The data specification of the checkpoint.

    Raises:
        InputError: There is less memory.
    """
    each = OF_MODALITY * len(spec.modalities) + OF_CLASS * len(spec.classes)
    size, left = prod(header.shape) * each, available_memory()
    if size > left:
        raise InputError(
            f"{path} (case {case}): takes about {size / 1e9:.3g} GB of memory, and only "
            f"{left / 1e9:.3g} GB are available; {LARGER}"
        )


@contextmanager
def within_memory(path: Path, case: str) -> Iterator[None]:
    """Raise an InputError that names the case if a block runs out of memory.

    Args:
        path: Its first image.
        case: Its name.

    Raises:
        InputError: There was too little memory, on the processor or on an accelerator.

    Example:
        >>> with within_memory(Path("ann.nii"), "ann"):
        ...     torch.empty(2**50)
        Traceback (most recent call last):
        wsseg.utils.errors.InputError: ann.nii (case ann): takes more memory than there is; ...
    """
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
        if type(error) is RuntimeError and "DefaultCPUAllocator" not in str(error):
            raise
        problem = "takes more memory than there is"
        raise InputError(f"{path} (case {case}): {problem}; {LARGER}") from None
