"""Somebody else's Lightning project: what it takes to use the callback. Runs as a script."""

from __future__ import annotations

import sys
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from wsseg.clustering import (
    ClusteringOptions,
    ClusterReSupervision,
    EvidenceScorer,
    PixelEmbeddings,
)


class Squares(Dataset[dict[str, Any]]):
    """Noise; every second picture (tag 1) has a bright square (mask, never given to training)."""

    def __init__(self, count: int = 48, size: int = 32) -> None:
        draw = torch.Generator().manual_seed(0)
        self.tags = (torch.arange(count) % 2).float()[:, None]
        self.masks = torch.zeros(count, size, size)
        for mask in self.masks[1::2]:
            y, x = torch.randint(2, size - 8, (2,), generator=draw).tolist()
            mask[y : y + 6, x : x + 6] = 1
        self.images = 0.2 * torch.randn(count, 1, size, size, generator=draw)
        self.images += 2 * self.masks[:, None]

    def __len__(self) -> int:
        return len(self.tags)

    def __getitem__(self, item: int) -> dict[str, Any]:
        return {"image": self.images[item], "tags": self.tags[item], "index": item}


class Finder(pl.LightningModule):
    """Finds squares; learns from tags and, once there are some, from cluster maps."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)
        )
        self.head = nn.Conv2d(8, 1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.body(image))

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        logits = self(batch["image"])
        loss = F.binary_cross_entropy_with_logits(logits.amax(dim=(2, 3)), batch["tags"])
        if "cluster_map" in batch:
            told = batch["cluster_map"] >= 0
            loss = loss + F.binary_cross_entropy_with_logits(
                logits[told], batch["cluster_map"][told]
            )
        return loss

    def embed_pixels(self, batch: dict[str, Tensor]) -> PixelEmbeddings:
        features = self.body(batch["image"])
        return PixelEmbeddings(
            features=features,
            activation=self.head(features).sigmoid(),
            valid=torch.ones_like(features[:, 0], dtype=torch.bool),
            tags=batch["tags"],
            index=batch["index"],
        )

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def train(folder: str, epochs: int = 5) -> tuple[Finder, ClusterReSupervision]:
    pl.seed_everything(0, verbose=False)
    # Squares have sharp borders: nothing to smooth, and no reason to take in doubtful pixels.
    clustering = ClusterReSupervision(
        clustering=ClusteringOptions(n_clusters=8, n_clusterings=2, smoothing=0.0),
        scorer=EvidenceScorer(activation_power=1.0, low=0.3, high=0.4),
    )
    module = Finder()
    trainer = pl.Trainer(
        max_epochs=epochs,
        callbacks=[clustering],
        default_root_dir=folder,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=pl.loggers.CSVLogger(folder),
    )
    trainer.fit(module, DataLoader(Squares(), batch_size=8, shuffle=True))
    return module, clustering


if __name__ == "__main__":
    train(sys.argv[1])
