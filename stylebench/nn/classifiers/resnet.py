"""Residual networks of torchvision, with batch norm.

Source: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016.
"""

import torch
from torch import Tensor, nn
from torchvision import models

from stylebench.checks import check_choice
from stylebench.nn.classifiers.base import ClassifierNetwork
from stylebench.nn.encoders.base import PROFILES
from stylebench.nn.plain_weights import plain_weights

DEPTHS = {18: models.resnet18, 50: models.resnet50}
STEMS = ("large", "small")


class ResNet(ClassifierNetwork):
    """torchvision's ResNet; the parameters have its names below `body`.

    Args:
        classes: K.
        depth: 18 or 50.
        stem: `large` (7x7, stride 2, pooling: for 224 px) or `small` (3x3, stride 1, none: for 32 px).

    Raises:
        ValueError: if a setting is none of these.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, classes: int, depth: int = 18, stem: str = "large") -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"depth must be one of {', '.join(map(str, DEPTHS))}, got {depth!r}")
        check_choice("stem", stem, STEMS)
        self.body = DEPTHS[depth](weights=None)
        self.width = self.body.fc.in_features
        self.head = nn.Linear(self.width, classes)
        self.body.fc = nn.Identity()
        if stem == "small":
            self.body.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
            self.body.maxpool = nn.Identity()
        for name, values in zip(("mean", "std"), PROFILES["torch"], strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)

    def torchvision_weights(self, statistics: str) -> dict[str, Tensor]:
        """Return the weights as torchvision's network loads them, with chosen statistics as the running ones.

        `resnet18(num_classes=K)` (of the small stem: with its `conv1` and `maxpool`) gives with them, shown images that
        are normalized by ImageNet's mean and standard deviation, what this network gives.

        Args:
            statistics: `running`, or a domain whose statistics are kept; see `plain_weights`.
        """
        weights = plain_weights(self, statistics)
        return {name.replace("head.", "fc.", 1).removeprefix("body."): value for name, value in weights.items()}

    def features(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) images in [0, 1] to (B, 512) or (B, 2048)."""
        features: Tensor = self.body((images - self.mean) / self.std)
        return features
