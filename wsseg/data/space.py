"""Whether there is space on the disk for a store, which is known before any volume is read."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from wsseg.data.geometry import whole_plane_geometry
from wsseg.data.readers import Header
from wsseg.data.spec import DataSpec
from wsseg.data.unfinished_store import UnfinishedStore
from wsseg.utils.files import check_space

# Share of the planes of volumes that slices keep at least: they are cropped to the body, and those
# without any are left out; pictures are kept whole. Not measured.
LEAST_KEPT = 0.25


def check_space_of_store(
    store: UnfinishedStore, headers: Sequence[Header], spec: DataSpec, step: int, *, masks: bool
) -> None:
    """Refuse to make a store that certainly does not fit on the disk.

    Args:
        store: Where it is made; what is there already needs no more space.
        headers: Of the first image of each case.
        spec: How volumes become slices; size (0, 0) while it is not known.
        step: Every how many slices one is kept.
        masks: Whether there are masks.

    Raises:
        InputError: Fewer bytes are free than it takes at the least.
    """
    each = 2 * len(spec.modalities) + 1 + len(spec.classes) * masks  # bytes of a pixel
    size = each * sum(_pixels(header, spec, step) for header in headers)
    there = sum(file.stat().st_size for file in store.folder.rglob("*") if file.is_file())
    check_space(store.out.parent, size - there, "the store")


def _pixels(header: Header, spec: DataSpec, step: int) -> float:
    """Return how many pixels a case has at the least."""
    side = spec.plan.longest_side
    whole = whole_plane_geometry(header.shape, header.affine, spec.axis, spec.spacing, side)
    share = 1.0 if whole.depth == 1 else LEAST_KEPT
    plane = spec.size if any(spec.size) else whole.resampled
    return share * prod(plane) * max(1, whole.depth // step)
