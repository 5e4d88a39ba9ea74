"""`rand-ms`: random convolutions at four scales; a valid distance between distributions, not a perceptual one."""

import hashlib
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from stylebench.checks import check_whole
from stylebench.metrics.extractors.base import Extractor, unit_range
from stylebench.metrics.extractors.pooling import mean_and_spread

_CHANNELS = (24, 48, 64, 96)
_SEEDS = 3
_SMALLEST_PX = 16  # the last stage sees one position then


class RandomMultiScale(Extractor):
    """Random networks of four stages (a 3 x 3 convolution and ReLU, at strides 2, 4, 8, 16); distances are averaged.

    Weights come from the raw bits of numpy's PCG64, so that the networks are the same under every version of torch and
    numpy.

    Args:
        seeds: how many networks, with the seeds 0, 1, ...

    Raises:
        ValueError: if there is no network.

    Source: ours; the scale of the weights is He et al. 2015, eq. 10.
    """

    alias, origin = "rand_ms", "random"

    def __init__(self, seeds: int = _SEEDS) -> None:
        super().__init__()
        self.parts = check_whole("seeds", seeds)
        with torch.random.fork_rng(devices=[]):  # layers are made with torch's random numbers, before ours replace them
            self.networks = nn.ModuleList(_network(seed) for seed in range(seeds))
        self.taps = tuple(f"s{seed}_{stage}" for seed in range(seeds) for stage in range(1, len(_CHANNELS) + 1))
        self.width = seeds * 2 * sum(_CHANNELS)
        digest = hashlib.sha256()
        for parameter in self.networks.parameters():
            digest.update(parameter.numpy(force=True).tobytes())
        self.digest = digest.hexdigest()
        self.name = f"rand-ms-s{seeds}"
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, width) float32 features; see `maps`."""
        return self.pool(self.maps(images))

    def maps(self, images: Tensor, layers: Sequence[str] | None = None) -> dict[str, Tensor]:
        """Return the maps of each stage (1 .. 4) of each network, `s<seed>_<stage>`; see `Extractor`.

        Raises:
            TypeError: on images of another type.
            ValueError: on another shape, or images below 16 px a side.
        """
        pixels = 2 * unit_range(images) - 1
        if min(images.shape[2:]) < _SMALLEST_PX:
            raise ValueError(
                f"{self.name} needs images of at least {_SMALLEST_PX} px a side, got {images.shape[2]} x "
                f"{images.shape[3]}; use larger images or pix-pca"
            )
        found: dict[str, Tensor] = {}
        for seed, network in enumerate(self.networks):
            x = pixels
            for stage, convolution in enumerate(network.children(), start=1):
                x = F.relu(convolution(F.avg_pool2d(x, 2) if stage > 1 else x))  # (B, C, h, w)
                found[f"s{seed}_{stage}"] = x
        return found if layers is None else {layer: found[layer] for layer in layers}

    def pool(self, maps: dict[str, Tensor]) -> Tensor:
        """Return means and standard deviations of each stage, one network's after the other's."""
        return mean_and_spread(maps, self.taps)


def _network(seed: int) -> nn.ModuleList:
    """Build a network; the first stage's stride keeps its maps, the largest, from dominating the memory."""
    source = np.random.PCG64(seed)
    stages, inputs = nn.ModuleList(), 3
    for channels in _CHANNELS:
        stride = 1 if len(stages) else 2
        stage = nn.Conv2d(inputs, channels, 3, stride=stride, padding=1, padding_mode="replicate", bias=False)
        with torch.no_grad():
            stage.weight.copy_(torch.from_numpy(_weights(source, (channels, inputs, 3, 3))))
        stages.append(stage)
        inputs = channels
    return stages


def _weights(source: np.random.PCG64, shape: Sequence[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """Draw uniform weights of variance 2 / fan-in, in plain arithmetic that no library's version changes."""
    fraction = (source.random_raw(int(np.prod(shape))) >> np.uint64(11)) * 2.0**-53  # uniform in [0, 1)
    bound = (6 / np.prod(shape[1:])) ** 0.5
    return np.asarray((2 * fraction - 1) * bound).reshape(shape)
