"""Forward passes over a case: batches change nothing, devices are named."""

from __future__ import annotations

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from wsseg.prediction.inference import choose_device, predict_slices
from wsseg.utils.errors import InputError


class Mean(pl.LightningModule):
    """The mean over modalities, squashed; counts its calls."""

    calls = 0

    def forward(self, image: Tensor, valid: Tensor) -> Tensor:
        self.calls += 1
        assert image.dtype == torch.float32
        return torch.sigmoid(image.mean(dim=1, keepdim=True)) * valid[:, None]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_batches_change_nothing(batch_size: int) -> None:
    image = torch.randn(7, 2, 8, 8).half()
    valid = torch.rand(7, 8, 8) > 0.5
    module = Mean().eval()
    probability = predict_slices(module, image, valid, batch_size)
    assert module.calls == -(-7 // batch_size)
    assert probability.shape == (7, 1, 8, 8)
    assert not probability.requires_grad
    torch.testing.assert_close(probability, Mean()(image.float(), valid))


def test_auto_finds_a_device_and_unknown_ones_are_refused() -> None:
    assert choose_device("auto").type in ("cpu", "cuda")
    assert choose_device("cpu").type == "cpu"
    for name in ("nonsense", "cuda:99"):
        with pytest.raises(InputError, match=f"--device {name}"):
            choose_device(name)
