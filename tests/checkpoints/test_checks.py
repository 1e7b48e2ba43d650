"""Checkpoints meet data and settings that they do not belong to."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from wsseg.checkpoints.checks import check_data, check_model
from wsseg.utils.errors import InputError

SPEC: dict[str, Any] = {
    "modalities": ["FLAIR", "T1"],
    "classes": {"tumour": [1]},
    "axis": "axial",
    "spacing": 2.0,
    "size": [96, 96],
}


class Linear(pl.LightningModule):
    def __init__(self, width: int = 2, lr: float = 0.1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)


class Adapting(Linear):
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Drop what does not fit."""


def content(module: pl.LightningModule) -> dict[str, Any]:
    return {"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}


@pytest.mark.parametrize(
    ("key", "value"), [("modalities", ["T1", "FLAIR"]), ("classes", {"core": [1], "tumour": [2]})]
)
def test_other_channels_are_refused(key: str, value: Any) -> None:
    with pytest.raises(InputError, match=f"was trained on the {key}"):
        check_data("x.ckpt", SPEC, {**SPEC, key: value})


def test_other_slices_are_announced_and_other_sizes_are_fine() -> None:
    with pytest.warns(UserWarning, match=r"spacing 1\.0, but x\.ckpt was trained with 2\.0"):
        check_data("x.ckpt", SPEC, {**SPEC, "spacing": 1.0})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_data("x.ckpt", SPEC, {**SPEC, "size": [128, 96]})


@pytest.mark.parametrize(
    ("spacing", "here", "warned"),
    [
        (None, [1.0, 1.0], True),
        (None, [2.05, 2.0], False),
        (None, None, False),
        (2.0, [1.0, 1.0], False),
    ],
)
def test_pixels_of_another_size_are_announced(spacing: Any, here: Any, warned: bool) -> None:
    saved = {**SPEC, "spacing": spacing, "pixel": [2.0, 2.0]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_data("x.ckpt", saved, {**saved, "pixel": here})
    said = r"pixels of the store are 1 x 1 mm, but x.ckpt was trained on 2 x 2 mm"
    assert [said in str(each.message) for each in caught] == [True] * warned


def test_other_weights_are_refused_with_the_setting_that_differs() -> None:
    with pytest.raises(InputError, match=r"model\.width is 3 here but 2 in x\.ckpt"):
        check_model("x.ckpt", content(Linear()), Linear(width=3), training=True)


def test_a_module_that_adapts_checkpoints_may_do_so() -> None:
    with pytest.warns(UserWarning, match="width"):
        check_model("x.ckpt", content(Adapting()), Adapting(width=3), training=True)


@pytest.mark.parametrize("training", [True, False])
def test_other_settings_are_announced(training: bool) -> None:
    with pytest.warns(UserWarning, match=r"model\.lr is 0\.5 here but 0\.1 in x\.ckpt") as caught:
        check_model("x.ckpt", content(Linear()), Linear(lr=0.5), training=training)
    assert ("optimiser" in str(caught[0].message)) == training
