from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsseg.models.cam_network import CamNetwork, top_mean
from wsseg.models.encoders import ENCODERS, UNetEncoder, build_encoder
from wsseg.models.reconstruction import ReconstructionNetwork, mask_patches


@pytest.mark.parametrize("name", ["unet", "resnet10"])
@pytest.mark.parametrize("size", [(32, 48), (30, 46)])
def test_maps_have_the_resolution_of_the_image(name: str, size: tuple[int, int]) -> None:
    network = CamNetwork(build_encoder(name, 3, (4, 8, 12), size), num_classes=2)
    output = network(torch.randn(2, 3, *size), torch.ones(2, *size, dtype=torch.bool))
    assert output.cam.shape == (2, 2, *size)
    assert output.slice_logits.shape == (2, 2, 2)
    assert output.features.shape[0] == 2
    assert output.features.shape[2:] == size


def test_an_unknown_encoder_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"--model\.encoder vgg: unknown; choose one of unet, resnet10"
    ):
        build_encoder("vgg", 1, (4,), (16, 16))


def test_an_encoder_without_levels() -> None:
    with pytest.raises(ValueError, match=r"--model\.widths: is empty"):
        build_encoder("unet", 1, (), (16, 16))


def test_an_encoder_of_ones_own_can_be_named() -> None:
    ENCODERS["mine"] = UNetEncoder
    try:
        assert build_encoder("mine", 1, (4, 8), (16, 16)).widths == (4, 8)
    finally:
        del ENCODERS["mine"]


def test_reconstruction_gives_an_embedding_per_pixel() -> None:
    network, slices = ReconstructionNetwork(2, (4, 8)), torch.randn(3, 2, 16, 16)
    assert network(slices).shape == (3, 2, 16, 16)
    assert network.embed(slices).shape == (3, 4, 16, 16)


def test_masking_touches_whole_patches_of_one_modality() -> None:
    torch.manual_seed(0)
    image = torch.ones(8, 3, 10, 14)
    masked = mask_patches(image, 0.5)
    gone = masked == 0
    assert (gone.flatten(2).any(2).sum(1) == 1).all()
    patch = gone.any(1)[:, :8, :12].unfold(1, 4, 4).unfold(2, 4, 4).flatten(3)
    assert (patch.all(3) | ~patch.any(3)).all()
    assert 0.3 < patch.all(3).float().mean() < 0.7


def test_masking_of_a_chosen_modality_and_ratio() -> None:
    image = torch.ones(4, 2, 8, 8)
    assert torch.equal(mask_patches(image, 0.0), image)
    everything = mask_patches(image, 1.0, modality=1)
    assert (everything[:, 1] == 0).all()
    assert (everything[:, 0] == 1).all()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 1.0))
def test_top_mean_is_the_mean_of_the_highest_valid_pixels(seed: int, fraction: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    maps = torch.randn(2, 3, 6, 5, generator=generator)
    valid = torch.rand(2, 6, 5, generator=generator) < 0.7
    valid[:, 0, 0] = True
    pooled = top_mean(maps, valid, fraction)
    count = max(1, round(fraction * 30))
    for b in range(2):
        for c in range(3):
            pixels = np.sort(maps[b, c][valid[b]].numpy())[::-1][:count]
            np.testing.assert_allclose(pooled[b, c], pixels.mean(), rtol=1e-5, atol=1e-6)


def test_top_mean_of_a_slice_without_anatomy_is_zero() -> None:
    empty = torch.zeros(1, 4, 4, dtype=torch.bool)
    assert top_mean(torch.randn(1, 1, 4, 4), empty, 0.5).item() == 0
