"""Regions: the activation chooses among the connected parts of one slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from tests.training import quiet_trainer
from wsseg.clustering import ClusterReSupervision, PixelEmbeddings
from wsseg.clustering.regions import (
    BLUR_OF_TAGS,
    FEWEST_DIVIDED,
    Regions,
    Sight,
    region_relevance,
)
from wsseg.utils.errors import InputError
from wsseg.utils.smoothing import blur


def picture(seed: int = 0, size: int = 48) -> tuple[Tensor, Tensor]:
    """A noisy picture [1, 3, size, size] with a square of another colour, and where that is."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(1, 3, size, size, generator=generator) * 0.1
    lesion = torch.zeros(1, 1, size, size, dtype=torch.bool)
    lesion[..., size // 4 : size // 2, size // 4 : 3 * size // 4] = True
    return image + lesion * torch.tensor([1.0, -1.0, 0.5])[:, None, None], lesion


def dice(found: Tensor, truth: Tensor) -> float:
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


@pytest.mark.parametrize("seed", range(3))
def test_a_corner_lights_up_the_whole_lesion(seed: int) -> None:
    image, lesion = picture(seed)
    corner = torch.full((1, 1, 48, 48), 0.1)
    corner[..., 12:18, 12:20] = 0.9
    valid = torch.ones(1, 48, 48, dtype=torch.bool)
    found = region_relevance(corner, image, valid, width=0.0) > 0.5
    assert dice(corner > 0.5, lesion) < 0.4
    assert dice(found, lesion) > 0.85


@pytest.mark.parametrize("seed", range(3))
def test_a_blurred_spot_leads_to_the_lesion_in_its_middle(seed: int) -> None:
    """As a network of coarse features shows it, too large and without its shape."""
    image, lesion = picture(seed)
    valid = torch.ones(1, 48, 48, dtype=torch.bool)
    spot = torch.sigmoid(12 * blur(lesion.float(), valid[:, None], sigma=5.0) - 3)
    assert dice(spot > 0.5, lesion) < 0.8
    sharp, blurred = (
        dice(region_relevance(spot, image, valid, width) > 0.5, lesion)
        for width in (0.0, BLUR_OF_TAGS)
    )
    assert sharp < 0.9
    assert blurred > 0.95


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1000), width=st.sampled_from([0.0, 0.05, 0.1]))
def test_regions_are_compared_as_a_slow_version_does(seed: int, width: float) -> None:
    """Every union is blurred and correlated with the activation pixel by pixel."""
    generator = torch.Generator().manual_seed(seed)
    logit = torch.randn(24, 32, generator=generator)
    inside = torch.rand(24, 32, generator=generator) < 0.9
    sight = Sight(logit, inside, width)
    unions = torch.rand(3, 24, 32, generator=generator) * inside
    found = sight.correlate(unions.flatten(1).double().numpy())
    seen = blur(unions[None], inside[None, None], width * 32)[0]
    for number, one in enumerate(seen):
        pair = torch.stack([one[inside], logit[inside]])
        expected = torch.corrcoef(pair)[0, 1] * logit[inside].std(correction=0)
        assert float(found[number]) == pytest.approx(float(expected), abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 100), gain=st.floats(0.2, 5.0), shift=st.floats(-3.0, 3.0))
def test_brightness_and_contrast_of_a_picture_do_not_matter(
    seed: int, gain: float, shift: float
) -> None:
    image, _ = picture(seed)
    valid = torch.ones(1, 48, 48, dtype=torch.bool)
    activation = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(seed))
    one = region_relevance(activation, image, valid) > 0.5
    other = region_relevance(activation, gain * image + shift, valid) > 0.5
    assert (one == other).float().mean() > 0.98


def test_slices_and_classes_do_not_affect_each_other() -> None:
    (first, _), (second, _) = picture(0), picture(1)
    image, valid = torch.cat((first, second)), torch.ones(2, 48, 48, dtype=torch.bool)
    activation = torch.rand(2, 2, 48, 48, generator=torch.Generator().manual_seed(0))
    together = region_relevance(activation, image, valid)
    for row in range(2):
        for channel in range(2):
            alone = region_relevance(
                activation[row : row + 1, channel : channel + 1],
                image[row : row + 1],
                valid[row : row + 1],
            )
            torch.testing.assert_close(together[row, channel], alone[0, 0])


def test_nothing_is_found_outside() -> None:
    image, _ = picture()
    valid = torch.zeros(1, 48, 48, dtype=torch.bool)
    valid[:, :24] = True
    found = region_relevance(torch.rand(1, 1, 48, 48), image, valid)
    assert found[:, :, 24:].max() == 0
    assert found.max() > 0.5


def test_a_slice_of_few_pixels_keeps_its_activation() -> None:
    image, _ = picture()
    valid = torch.zeros(1, 48, 48, dtype=torch.bool)
    valid.view(-1)[: FEWEST_DIVIDED - 1] = True
    activation = torch.rand(1, 1, 48, 48)
    assert torch.equal(region_relevance(activation, image, valid), activation * valid)


def test_one_of_two_lesions_may_be_relevant() -> None:
    image = torch.zeros(1, 1, 64, 64)
    image[..., 8:24, 8:24] = image[..., 40:56, 40:56] = 1.0
    activation = torch.full((1, 1, 64, 64), 0.1)
    activation[..., 8:24, 8:18] = 0.9
    found = region_relevance(activation, image, torch.ones(1, 64, 64, dtype=torch.bool)) > 0.5
    assert dice(found[..., :32, :32], image[..., :32, :32] > 0.5) > 0.85
    assert not found[..., 32:, 32:].any()


def test_a_picture_of_one_colour_has_finite_relevance() -> None:
    flat, valid = torch.ones(1, 3, 32, 32), torch.ones(1, 32, 32, dtype=torch.bool)
    for activation in (torch.zeros(1, 1, 32, 32), torch.rand(1, 1, 32, 32)):
        assert region_relevance(activation, flat, valid).isfinite().all()


def embeddings(tags: list[float], image: Tensor | None) -> PixelEmbeddings:
    count = len(tags)
    activation = torch.full((count, 1, 48, 48), 0.1)
    activation[..., 10:26, 10:38] = 0.9
    valid = torch.ones(count, 48, 48, dtype=torch.bool)
    valid[:, 40:] = False
    return PixelEmbeddings(
        features=activation,
        activation=activation,
        valid=valid,
        tags=torch.tensor(tags)[:, None],
        index=torch.arange(count),
        image=image,
    )


def test_maps_are_certain_in_tagged_pictures_and_empty_in_others() -> None:
    image, lesion = picture()
    maps = Regions().relevance(embeddings([1.0, 0.0], image.repeat(2, 1, 1, 1)))
    assert set(maps[0].unique().tolist()) == {-1.0, 0.0, 1.0}
    assert (maps[0, 0, 40:] == -1).all()
    assert dice(maps[0] == 1, lesion[0]) > 0.85
    assert (maps[1] == 0).all()


def test_the_image_is_asked_for() -> None:
    with pytest.raises(InputError, match="embed_pixels gives no image"):
        Regions().relevance(embeddings([1.0], None))


class Painted(pl.LightningModule):
    """Learns from tags, then from the maps of regions; gives no features of its own."""

    clusters_within_slices = True

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 1, 1)
        torch.nn.init.zeros_(self.layer.weight)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        logits = self.layer(batch["image"])
        loss = F.binary_cross_entropy_with_logits(logits.amax((2, 3)), batch["tags"])
        if "cluster_map" in batch:
            loss = loss + F.binary_cross_entropy_with_logits(logits, batch["cluster_map"])
        return loss

    def embed_pixels(self, batch: dict[str, Tensor]) -> PixelEmbeddings:
        activation = self.layer(batch["image"]).sigmoid()
        return PixelEmbeddings(
            features=activation,
            activation=activation,
            valid=torch.ones_like(activation[:, 0], dtype=torch.bool),
            tags=batch["tags"],
            index=batch["index"],
            image=batch["image"],
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


class Pictures(Dataset[dict[str, Any]]):
    """Every second picture has a lesion."""

    def __init__(self) -> None:
        drawn = [picture(seed) for seed in range(8)]
        self.truth = torch.cat(
            [lesion if n % 2 else ~lesion & lesion for n, (_, lesion) in enumerate(drawn)]
        )
        self.images = torch.cat(
            [
                image if n % 2 else torch.randn(1, 3, 48, 48) * 0.1
                for n, (image, _) in enumerate(drawn)
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, item: int) -> dict[str, Any]:
        return {"image": self.images[item], "tags": torch.tensor([item % 2.0]), "index": item}


def train(folder: Path, epochs: int, **more: Any) -> tuple[ClusterReSupervision, pl.Trainer]:
    torch.manual_seed(0)
    callback = ClusterReSupervision(warmup_epochs=2, every_n_epochs=2)
    trainer = quiet_trainer(max_epochs=epochs, callbacks=[callback], default_root_dir=folder)
    trainer.fit(Painted(), DataLoader(Pictures(), batch_size=4), **more)
    return callback, trainer


def test_a_module_may_ask_for_clusters_within_slices(tmp_path: Path) -> None:
    callback, trainer = train(tmp_path, epochs=4)
    maps = callback.lookup(torch.arange(8))
    assert callback.clusters is None
    assert maps is not None
    assert maps[::2].max() == 0
    assert dice(maps[1::2] > 0.5, Pictures().truth[1::2]) > 0.8
    assert callback.report["relevant_area"] > 0
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    again, _ = train(tmp_path, epochs=5, ckpt_path=tmp_path / "last.ckpt")
    assert again.state_dict()["maps"]["version"] == 1  # regions are chosen once
