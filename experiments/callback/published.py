"""A published network, MONAI's DenseNet, which is served the dictionaries that MONAI makes."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from comparison import compare
from monai.networks.nets.densenet import DenseNet
from pictures import Pictures
from torch import Tensor
from torch.nn import functional as F

from wsseg.clustering import ClassifierAdapter


class Classifier(pl.LightningModule):
    """Says whether a picture shows the object (1) or not (0)."""

    def __init__(self) -> None:
        super().__init__()
        self.net = DenseNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=2,
            init_features=16,
            growth_rate=16,
            block_config=(2, 2),
            bn_size=2,
        )

    def forward(self, image: Tensor) -> Any:
        return self.net(image)

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> Tensor:
        return F.cross_entropy(self(batch["img"]), batch["label"])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=2e-3)
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.8)]


def serve(pictures: Pictures) -> list[Any]:
    pairs = zip(pictures.images, pictures.tags, strict=True)
    return [{"img": image, "label": int(tag)} for image, tag in pairs]


if __name__ == "__main__":
    compare(Classifier, serve, 1, 1, lambda: ClassifierAdapter(background=0))
