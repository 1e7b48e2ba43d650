"""Classifiers as others publish them: the same structures, smaller."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.networks.nets import DenseNet, EfficientNetBN, ResNet
from torch import Tensor, nn
from torch.nn import functional as F


class TorchvisionResNet(nn.Module):
    """The names and the forward pass of ``torchvision.models.ResNet``."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 4, 3, 2, 1)
        self.bn1 = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(nn.Conv2d(4, 4, 3, 1, 1), nn.ReLU(inplace=True))
        self.layer4 = nn.Sequential(nn.Conv2d(4, 8, 3, 2, 1), nn.ReLU(inplace=True))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer4(self.layer1(self.relu(self.bn1(self.conv1(x)))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


class TorchvisionDenseNet(nn.Module):
    """The end of ``torchvision.models.DenseNet``, whose last ReLU is no layer."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(channels, 8, 3, 2, 1), nn.BatchNorm2d(8))
        self.classifier = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.features(x), inplace=True)
        return self.classifier(torch.flatten(F.adaptive_avg_pool2d(out, (1, 1)), 1))


class TimmNet(nn.Module):
    """``forward_features``, ``forward_head`` and ``get_classifier`` of timm's networks."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.stem = nn.Conv2d(channels, 8, 3, 2, 1)
        self.stages = nn.ModuleList([nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 2, 1)])
        self.norm = nn.BatchNorm2d(8)
        self.global_pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(1))
        self.head_drop = nn.Dropout(0.2)
        self.head = nn.Linear(8, classes)

    def get_classifier(self) -> nn.Module:
        return self.head

    def forward_features(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = F.gelu(stage(x))
        return self.norm(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.head_drop(self.global_pool(self.forward_features(x))))


class TimmConvHead(TimmNet):
    """Classifies by a 1x1 convolution of the pooled map, as timm's MobileNets can."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__(channels, classes)
        self.global_pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.global_pool(self.forward_features(x))).flatten(1)


class Functional(nn.Module):
    """Has layers for what has weights only."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 8, 3, 1, 1)
        self.conv2 = nn.Conv2d(8, 8, 3, 1, 1)
        self.fc = nn.Linear(8, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return self.fc(F.relu(self.conv2(x)).mean(dim=(2, 3)))


class MaxPooled(nn.Module):
    """Makes a map of class logits, and pools it by its maximum."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).amax(dim=(2, 3))


class TwoLayersAfterPooling(nn.Module):
    """Has no classic CAM."""

    def __init__(self, channels: int = 1, classes: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 8, 3, 1, 1), nn.ReLU())
        self.head = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean(dim=(2, 3)))


def plain(channels: int = 1, classes: int = 2) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Conv2d(channels, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(8, classes),
    )


def monai_resnet(channels: int = 1, classes: int = 2) -> nn.Module:
    sizes: dict[str, Any] = {"layers": [1, 1, 1, 1], "block_inplanes": [4, 4, 8, 8]}
    return ResNet("basic", **sizes, spatial_dims=2, n_input_channels=channels, num_classes=classes)


def monai_densenet(channels: int = 1, classes: int = 2) -> nn.Module:
    return DenseNet(2, channels, classes, init_features=8, growth_rate=4, block_config=(2, 2))


def monai_efficientnet(channels: int = 1, classes: int = 2) -> nn.Module:
    return EfficientNetBN(
        "efficientnet-b0",
        pretrained=False,
        spatial_dims=2,
        in_channels=channels,
        num_classes=classes,
    )


COMMON: dict[str, tuple[Callable[[int, int], nn.Module], str, str | None]] = {
    "torchvision_resnet": (TorchvisionResNet, "layer4", "fc"),
    "torchvision_densenet": (TorchvisionDenseNet, "features", "classifier"),
    "timm": (TimmNet, "norm", "head"),
    "timm_convolution": (TimmConvHead, "norm", "head"),
    "plain": (plain, "5", "8"),
    "functional": (Functional, "conv2", "fc"),
    "max_pooled": (MaxPooled, "head", None),
    "monai_resnet": (monai_resnet, "layer4", "fc"),
    "monai_densenet": (monai_densenet, "class_layers.relu", "class_layers.out"),
    "monai_efficientnet": (monai_efficientnet, "_swish", "_fc"),
}
"""How each is made, and the layers of its CAM."""
