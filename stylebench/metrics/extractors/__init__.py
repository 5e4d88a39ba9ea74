"""Feature extractors: the networks that look at images for the metrics."""

from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.extractors.clip import CLIP
from stylebench.metrics.extractors.dinov2 import DINOv2
from stylebench.metrics.extractors.encoder_features import EncoderFeatures
from stylebench.metrics.extractors.inception import Inception, fetch_inception, has_inception
from stylebench.metrics.extractors.pixel_pca import PixelPCA
from stylebench.metrics.extractors.random_network import RandomMultiScale
from stylebench.metrics.extractors.torchvision_inception import TorchvisionInception

__all__ = [
    "CLIP",
    "DINOv2",
    "EncoderFeatures",
    "Extractor",
    "Inception",
    "PixelPCA",
    "RandomMultiScale",
    "TorchvisionInception",
    "fetch_inception",
    "has_inception",
]
