"""torchvision's Inception v3: a network of its own, whose distances are no FID, and are comparable only to each other.

Source: clovaai/stargan-v2 metrics/fid.py and pytorch/ignite take it for FID all the same.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import Inception_V3_Weights, inception_v3

from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.extractors.inception import SIZE_PX, load_network, randomize
from stylebench.metrics.extractors.levels import normalized, resized_levels
from stylebench.metrics.resizing import protocol
from stylebench.metrics.weights import find_weights
from stylebench.nn.encoders.base import PROFILES
from stylebench.nn.encoders.weights import random_seed, torchvision_source

SOURCE = torchvision_source(Inception_V3_Weights.IMAGENET1K_V1)


class TorchvisionInception(Extractor):
    """torchvision's Inception v3, its 2048 features before the classifier.

    Args:
        weights: `auto` (torch hub's cache), `imagenet` (the same, or a download), the path of a file, or `random` (or
            `random-<seed>`), for tests.
        resize: a protocol of `metrics.resizing.PROTOCOLS`.
        as_trained: whether inputs lie in [-1, 1], as the network was trained; False leaves them at ImageNet's mean and
            standard deviation, as StarGAN v2's evaluation does.

    Raises:
        MissingWeightsError: if the file is not here.
        DamagedFileError: if it does not fit the network.
        ValueError: on an unknown protocol.
        RuntimeError: if a download that was asked for fails.

    Source: pytorch/vision models/inception.py (`transform_input`).
    """

    width, size_px = 2048, SIZE_PX
    mean: Tensor
    std: Tensor

    def __init__(self, weights: str = "auto", resize: str = "clean", as_trained: bool = True) -> None:
        super().__init__()
        protocol(resize)
        self.resize, self.as_trained = resize, as_trained
        with torch.random.fork_rng(devices=[]):  # a run's random numbers stay the same with and without a metric
            network: Any = inception_v3(weights=None, init_weights=False, aux_logits=True, transform_input=False)
        seed = random_seed(weights)
        if seed is None:
            file = find_weights(weights, SOURCE, "weights of torchvision's Inception v3")
            load_network(network, file.path)
            self.digest, self.origin = file.digest, "natural"
        else:
            self.digest, self.origin = randomize(network, seed), "random"
        network.fc, network.AuxLogits = nn.Identity(), None
        self.network = network
        self.alias = "inception_v3_tv"
        self.name = f"inception_v3_tv-{self.digest[:8]}" + ("" if as_trained else "-imagenet_range")
        profile = ((0.5,) * 3, (0.5,) * 3) if as_trained else PROFILES["torch"]
        for key, values in zip(("mean", "std"), profile, strict=True):
            self.register_buffer(key, torch.tensor(values).view(1, 3, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, 2048) float32 features; see `Extractor`."""
        levels = resized_levels(images, self.resize, SIZE_PX)  # (B, 3, 299, 299)
        return self.network(normalized(levels, self.mean, self.std))  # type: ignore[no-any-return]  # (B, 2048)
