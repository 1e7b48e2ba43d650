from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.training import quiet_trainer
from wsseg.data.spec import Batch, DataSpec
from wsseg.models import CamModule

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


def test_no_tag_reaches_the_embeddings() -> None:
    """What keeps the clusters from confirming themselves: the two networks share no gradient."""
    module = CamModule(**SMALL, reconstruction_weight=1e-30)
    module.log = module.log_dict = lambda *_, **__: None  # type: ignore[method-assign]
    views = batch()
    views["cluster_map"] = torch.ones(4, 2, 16, 16)
    module.training_step(views, 0).backward()
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


def test_an_unknown_target_modality_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"target_modality PET: is not in the data; choose one of T1, FLAIR"
    ):
        CamModule(**SMALL, target_modality="PET")


@pytest.mark.parametrize("name", ["widths", "embedding_widths"])
def test_no_more_levels_than_slices_can_be_halved_for(name: str) -> None:
    CamModule(**{**SMALL, name: (4,) * 5})
    with pytest.raises(ValueError, match=f"^--model.{name}: slices of 16 x 16 .* for 5 levels"):
        CamModule(**{**SMALL, name: (4,) * 6})
