from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.training import quiet_trainer
from wsseg.clustering import asymmetry
from wsseg.data.spec import Batch, DataSpec
from wsseg.models import CamModule
from wsseg.models.losses import reconstruction_loss
from wsseg.models.network_input import slice_input

SPEC = DataSpec(("T1", "FLAIR"), {"tumour": (1,), "core": (2,)}, "axial", 2.0, (16, 16)).to_dict()
SMALL: dict[str, Any] = {"spec": SPEC, "widths": (4, 8), "embedding_widths": (4, 8)}


def batch(slices: int = 4) -> Batch:
    generator = torch.Generator().manual_seed(0)
    valid = torch.zeros(slices, 16, 16, dtype=torch.bool)
    valid[:, 2:14, 2:14] = True
    return {
        "image": torch.randn(slices, 2, 16, 16, generator=generator) * valid[:, None],
        "tags": torch.tensor([[1.0, 0.0], [0.0, 0.0]]).repeat(slices // 2, 1),
        "valid": valid,
        "index": torch.arange(slices),
        "case": torch.zeros(slices, dtype=torch.int64),
        "level": torch.zeros(slices, dtype=torch.int64),
    }


def largest_gradient(network: nn.Module) -> float:
    return max(p.grad.abs().max().item() for p in network.parameters() if p.grad is not None)


def test_probability_is_zero_outside_anatomy() -> None:
    module, views = CamModule(**SMALL).eval(), batch()
    probability = module(views["image"], views["valid"])
    assert probability.shape == (4, 2, 16, 16)
    inside = views["valid"][:, None].expand_as(probability)
    assert (probability[~inside] == 0).all()
    assert (probability[inside] > 0).all()


def test_the_teacher_is_clustered() -> None:
    module, views = CamModule(**SMALL).eval(), batch()
    before = module.embed_pixels(views).activation
    for parameter in module.network.parameters():
        parameter.data += 1
    assert torch.equal(module.embed_pixels(views).activation, before)


def test_embeddings_are_features_of_the_reconstruction_by_patient_and_level() -> None:
    module, views = CamModule(**SMALL).eval(), batch()
    views["case"], views["level"] = torch.tensor([5, 9, 2, 6]), torch.tensor([3, 1, 4, 1])
    found = module.embed_pixels(views)
    assert module.reconstruction is not None
    assert torch.equal(found.features, module.reconstruction.embed(views["image"]))
    assert torch.equal(found.case, views["case"])
    assert torch.equal(found.level, views["level"])


def train_once(module: CamModule, views: Batch) -> Tensor:
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    return module.training_step(views, 0)


class Turn(nn.Module):
    """An augmentation: a quarter turn of all that has rows and columns."""

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: turned(value) if value.ndim > 2 else value for name, value in batch.items()}


def turned(maps: Tensor) -> Tensor:
    return maps.rot90(dims=(-2, -1))


def test_losses_are_those_of_the_augmented_view() -> None:
    module, views = CamModule(**SMALL, symmetry=False), batch()
    views["valid"][:, :, :6] = False
    views["cluster_map"] = torch.rand(4, 2, 16, 16)
    losses = []
    for augmentation, given in ((Turn(), views), (nn.Identity(), Turn()(views))):
        module.augmentation = augmentation  # type: ignore[assignment]
        losses.append(train_once(module, given))
    torch.testing.assert_close(*losses)


def test_the_asymmetry_is_that_before_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a turned view the line between the sides is no longer upright."""
    monkeypatch.setattr("wsseg.models.network_input.SHOWN", 1.0)
    module, views, seen = CamModule(**SMALL), batch(), []
    module.augmentation = Turn()  # type: ignore[assignment]
    module.network.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    train_once(module, views)
    expected = torch.cat((views["image"], asymmetry(views["image"], views["valid"])), dim=1)
    assert torch.equal(seen[0], turned(expected))


def test_what_is_masked_is_to_be_filled_in() -> None:
    module, views, seen = CamModule(**SMALL, mask_ratio=1.0), batch(16), []
    assert module.reconstruction is not None
    module.reconstruction.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    module.weights["reconstruction"] = 1.0
    losses = module.losses(views, slice_input(views["image"], views["valid"], symmetric=True))
    masked = seen[0]
    assert set((masked == 0).all(dim=3).all(dim=2).sum(dim=1).tolist()) == {1}  # of two
    whole = reconstruction_loss(module.reconstruction(masked), views["image"], views["valid"])
    torch.testing.assert_close(losses["reconstruction"], whole)


def test_no_tag_reaches_the_embeddings() -> None:
    """What keeps the clusters from confirming themselves: the two networks share no gradient."""
    module = CamModule(**SMALL, reconstruction_weight=1e-30)
    views = batch()
    views["cluster_map"] = torch.ones(4, 2, 16, 16)
    train_once(module, views).backward()
    assert module.reconstruction is not None
    assert largest_gradient(module.reconstruction) < 1e-20
    assert largest_gradient(module.network) > 1e-4


def test_plain_cam_has_no_reconstruction_and_can_still_be_clustered() -> None:
    module = CamModule(**SMALL, reconstruction_weight=0.0).eval()
    assert module.reconstruction is None
    embeddings = module.embed_pixels(batch())
    assert embeddings.features.shape == (4, 4, 16, 16)
    assert embeddings.activation.shape == (4, 2, 16, 16)


def test_the_checkpoint_alone_rebuilds_the_module(tmp_path: Path) -> None:
    module = CamModule(**SMALL)
    trainer = quiet_trainer(max_steps=2, default_root_dir=tmp_path)
    trainer.fit(module, DataLoader([batch(), batch()], batch_size=None))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again = CamModule.load_from_checkpoint(tmp_path / "last.ckpt", weights_only=True).eval()
    assert again.spec == module.spec
    views = batch()
    expected = module.eval()(views["image"], views["valid"])
    torch.testing.assert_close(again(views["image"], views["valid"]), expected)


@pytest.mark.parametrize("name", ["widths", "embedding_widths"])
def test_no_more_levels_than_slices_can_be_halved_for(name: str) -> None:
    CamModule(**{**SMALL, name: (4,) * 5})
    with pytest.raises(ValueError, match=f"^--model.{name}: slices of 16 x 16 .* for 5 levels"):
        CamModule(**{**SMALL, name: (4,) * 6})
