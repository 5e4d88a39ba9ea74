"""What all classifiers share: features, a head over them, and the range that images are brought into."""

from torch import Tensor, nn


class ClassifierNetwork(nn.Module):
    """Base: `forward` is the head over the features.

    Attributes:
        width: F, numbers in a feature vector.
        head: maps (B, F) to (B, K) logits.
    """

    width: int
    head: nn.Module

    def features(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) images in [0, 1] to (B, F)."""
        raise NotImplementedError(f"{type(self).__name__} does not define features()")

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, 3, H, W) images in [0, 1] to (B, K) logits."""
        logits: Tensor = self.head(self.features(images))
        return logits
