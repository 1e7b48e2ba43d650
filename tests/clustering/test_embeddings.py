"""What the callback asks of a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from wsseg.clustering.embeddings import PixelEmbeddings, check_embeddings, pixels_of
from wsseg.utils.errors import InputError


def embeddings(batch: int = 3, classes: int = 2) -> PixelEmbeddings:
    return PixelEmbeddings(
        features=torch.randn(batch, 4, 5, 6),
        activation=torch.rand(batch, classes, 5, 6),
        valid=torch.rand(batch, 5, 6) > 0.3,
        tags=torch.ones(batch, classes),
        index=torch.arange(batch),
        case=torch.arange(batch),
        level=torch.arange(batch),
    )


def test_columns_stand_behind_each_other() -> None:
    first, second = torch.randn(3, 2, 5, 6), torch.randn(3, 1, 5, 6)
    place = torch.tensor([[0, 1, 2], [2, 4, 5]])
    both = torch.cat([first, second], dim=1)
    expected = torch.stack([both[0, :, 1, 2], both[2, :, 4, 5]])
    assert torch.equal(pixels_of([first, second], place), expected)


def test_some_slices_of_a_batch() -> None:
    batch = embeddings()._replace(activation=None)
    some = batch.select(torch.tensor([True, False, True]))
    assert some.index.tolist() == [0, 2]
    assert torch.equal(some.features, batch.features[[0, 2]])
    assert some.activation is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(3, 4)}, "`features` is"),
        ({"activation": torch.zeros(3, 2, 9, 9)}, "`activation` is .*make it .3, 2, 5, 6"),
        ({"valid": torch.zeros(3, 5, 6)}, "make it torch.bool"),
        ({"index": torch.tensor([0, -1, 2])}, "integers from 0"),
        ({"case": torch.zeros(2)}, "`case`"),
        ({"case": torch.zeros(3)}, "`case` must hold integers"),
        ({"level": torch.zeros(3)}, "`level` must hold integers"),
        ({"image": torch.zeros(3, 2, 9, 9)}, "`image` is .*make it .3, 2, 5, 6"),
        ({"image": torch.zeros(3)}, r"`image` is \(3,\); make it \(3, 5, 6\)"),
        ({"level": torch.zeros(2)}, "`level`"),
        ({"tags": torch.zeros(3)}, r"`tags` is \(3,\); make it .B, C."),
        ({"case": ["ann", "ben", "eve"]}, "`case` is of type list; make it a tensor"),
        ({"valid": None}, "`valid` is of type NoneType"),
    ],
)
def test_wrong_embeddings_are_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_embeddings(embeddings()._replace(**change))


def test_embeddings_of_another_type() -> None:
    with pytest.raises(InputError, match="returned tuple"):
        check_embeddings(tuple(embeddings()))


def test_without_cases_and_levels_every_slice_is_its_own_case_of_one_level() -> None:
    plain = check_embeddings(embeddings()._replace(case=None, level=None))
    assert plain.cases.equal(plain.index)
    assert not plain.levels.any()
    told = embeddings()
    assert told.cases is told.case
    assert told.levels is told.level


def test_ids_have_one_type_whatever_they_came_as() -> None:
    """A process without slices sends int64, and the others must send the same."""
    given = embeddings()
    short = given._replace(**{n: getattr(given, n).int() for n in ("index", "case", "level")})
    found = check_embeddings(short)
    for name in ("index", "case", "level"):
        assert getattr(found, name).dtype == torch.int64
        assert torch.equal(getattr(found, name), getattr(given, name))
