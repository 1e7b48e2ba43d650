"""Three classes in pictures of one channel, of which several may be there: a 0 or 1 for each."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from comparison import compare
from pictures import Pictures
from torch import Tensor, nn
from torch.nn import functional as F

from wsseg.clustering import ClassifierAdapter


def block(given: int, made: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(given, made, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(made), nn.ReLU()]


class Tagger(pl.LightningModule):
    """Says of each class whether a picture shows it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(*block(1, 16), *block(16, 32, 2), *block(32, 48, 2), *block(48, 64)),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 3)),
        )

    def forward(self, image: Tensor) -> Any:
        return self.net(image)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> dict[str, Tensor]:
        image, tags = batch
        return {"loss": F.binary_cross_entropy_with_logits(self(image), tags)}

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-3)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)]


def serve(pictures: Pictures) -> list[Any]:
    return list(zip(pictures.images, pictures.tags, strict=True))


if __name__ == "__main__":
    compare(Tagger, serve, 1, 3, ClassifierAdapter)
