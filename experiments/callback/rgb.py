"""A plain classifier of RGB pictures, which is served tuples of image and class id."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from comparison import compare
from pictures import Pictures
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.clustering import ClassifierAdapter


def block(given: int, made: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(given, made, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(made), nn.ReLU())


class Classifier(pl.LightningModule):
    """Says whether a picture shows the object (1) or not (0)."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            block(3, 16), block(16, 32, 2), block(32, 48, 2), block(48, 64)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, 2)

    def forward(self, image: Tensor) -> Any:
        return self.fc(self.pool(self.backbone(image)).flatten(1))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        image, label = batch
        return F.cross_entropy(self(image), label)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-3)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)]


def serve(pictures: Pictures) -> list[Any]:
    return [(image, int(tag)) for image, tag in zip(pictures.images, pictures.tags, strict=True)]


if __name__ == "__main__":
    compare(Classifier, serve, 3, 1, lambda: ClassifierAdapter(background=0))
