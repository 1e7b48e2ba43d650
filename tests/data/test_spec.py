from __future__ import annotations

import pytest

from wsseg.data.spec import DataSpec


@pytest.mark.parametrize(
    ("modalities", "channel"),
    [
        (("T1", "FLAIR"), 1),
        (("t1n", "t2f"), 1),
        (("T2_FLAIR", "T1", "T1ce"), 0),
        (("T1", "T2"), None),
    ],
)
def test_flair_is_found_under_any_of_its_names(
    modalities: tuple[str, ...], channel: int | None
) -> None:
    assert DataSpec(modalities, {"tumour": (1,)}, "axial", None, (16, 16)).flair == channel
