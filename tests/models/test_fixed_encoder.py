"""Networks that others have trained serve as encoders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.training import quiet_trainer
from wsseg.checkpoints.loading import load_module
from wsseg.data.spec import DataSpec
from wsseg.models import ENCODERS, CamModule, FixedEncoder
from wsseg.models.fixed_encoder import as_map
from wsseg.prediction.inference import predict_slices
from wsseg.segmentation import SegmentationModule
from wsseg.utils.errors import InputError


class VisionTransformer(nn.Module):
    """Takes images of 32 x 32 pixels in patches of 8, with a token for the class."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 12, 8, stride=8)
        self.of_class = nn.Parameter(torch.randn(1, 1, 12))
        self.places = nn.Parameter(torch.randn(1, 17, 12))
        self.blocks = nn.Sequential(
            *(nn.TransformerEncoderLayer(12, 2, 16, batch_first=True) for _ in range(2))
        )
        self.head = nn.Linear(12, 10)

    def forward(self, image: Tensor) -> Tensor:
        patches = self.patches(image).flatten(2).transpose(1, 2)
        tokens = torch.cat((self.of_class.expand(len(image), -1, -1), patches), dim=1)
        logits: Tensor = self.head(self.blocks(tokens + self.places)[:, 0])
        return logits


def vision_transformer() -> nn.Module:
    torch.manual_seed(0)
    return VisionTransformer()


def classifier() -> nn.Module:
    """Return a network that ends in the logits of classes."""
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, 2, 1)]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 1000))


def test_tokens_of_a_vision_transformer_become_maps() -> None:
    encoder = FixedEncoder(vision_transformer(), 1, layers=["blocks.0", "blocks.1"], size=(32, 32))
    assert encoder.widths == (12, 12)
    levels = encoder(torch.randn(2, 1, 48, 40))
    assert [level.shape for level in levels] == [(2, 12, 4, 4)] * 2
    tokens = torch.randn(1, 1 + 6, 5)
    found = as_map(tokens, (24, 16))
    assert found is not None
    torch.testing.assert_close(found[0, :, 2, 1], tokens[0, -1])  # raster order, the class first


def test_named_layers_of_a_classifier_are_levels() -> None:
    encoder = FixedEncoder(classifier(), 3, layers=["3", "2"])
    assert encoder.widths == (4, 6)  # finest first, whatever the order of the names
    image = torch.randn(1, 3, 32, 32)
    first, second = encoder(image)
    network = classifier().eval()
    torch.testing.assert_close(first, network[:3](image))
    torch.testing.assert_close(second, network[:4](image))


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(InputError, match=r"returns no feature map .* layers=\["):
        FixedEncoder(classifier(), 3)
    with pytest.raises(InputError, match="has no layer '9'"):
        FixedEncoder(classifier(), 3, layers=["9"])
    with pytest.raises(InputError, match=r"does not run on images of 3 channels and 64 x 64"):
        FixedEncoder(vision_transformer(), 1)


@pytest.fixture
def registered() -> Iterator[str]:
    ENCODERS["vit"] = lambda channels, _: FixedEncoder(
        vision_transformer(), channels, layers=["blocks.0", "blocks.1"], size=(32, 32)
    )
    yield "vit"
    del ENCODERS["vit"]


@pytest.mark.parametrize("kind", [CamModule, SegmentationModule])
def test_both_stages_train_on_it_and_leave_it_as_it_is(
    kind: Any, registered: str, tmp_path: Path
) -> None:
    spec = DataSpec(("T1", "FLAIR"), {"tumour": (1,)}, "axial", None, (32, 32))
    module = kind(spec.to_dict(), encoder=registered)
    batch = {
        "image": torch.randn(4, 2, 32, 32),
        "valid": torch.ones(4, 32, 32, dtype=torch.bool),
        "tags": torch.tensor([[1.0], [0.0]]).repeat(2, 1),
        "target": torch.zeros(4, 1, 32, 32),
        "drawn": torch.zeros(4, dtype=torch.bool),
        "index": torch.arange(4),
        "case": torch.arange(4),
        "level": torch.zeros(4, dtype=torch.int64),
    }
    trainer = quiet_trainer(max_epochs=1, default_root_dir=tmp_path)
    trainer.fit(module, DataLoader([batch], batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = load_module(tmp_path / "last.ckpt")
    found = predict_slices(again, batch["image"], batch["valid"], 4)
    torch.testing.assert_close(
        found, predict_slices(module.eval(), batch["image"], batch["valid"], 4)
    )
    encoder = again.network.encoder
    assert isinstance(encoder, FixedEncoder)
    for name, value in vision_transformer().state_dict().items():
        assert torch.equal(encoder.network.state_dict()[name], value)
    assert getattr(module, "reconstruction", None) is None
