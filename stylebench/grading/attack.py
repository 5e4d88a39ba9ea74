"""What metrics can be fooled with: invisible changes that follow their gradient, and simple edits without any style."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from stylebench.functional.color_match import match_color_statistics
from stylebench.functional.pixels import quantize
from stylebench.metrics.extractors.base import Extractor
from stylebench.metrics.feature_pairs import MapMetric
from stylebench.metrics.pairs import PSNR
from stylebench.worlds.filters.smoothing import gaussian_blur

STEPS = 30
_STEP = 1 / 8  # of the box
_SHARP_PX, _SHARPEN = 1.5, 1.0  # unsharp mask: sigma in 64ths of a side, amount
_NOISE_LEVELS = 8.0
_JPEG_QUALITY = 30
_UNIT_PX = 64
Distance = Callable[[Tensor], Tensor]  # (B, 3, H, W) float32 in [0, 1] -> (B,), less is better
EDITS = ("unsharp", "noise", "palette_swap", "jpeg")


def attack(distance: Distance, images: Tensor, levels: float, steps: int = STEPS) -> Tensor:
    """Lower a distance by changes within a box around every pixel: projected steps along the gradient's signs.

    Args:
        distance: differentiable; images of a batch must not influence each other.
        images: (B, 3, H, W) uint8 to start from.
        levels: half side of the box, of 255.
        steps: each goes an eighth of `levels`.

    Returns:
        (B, 3, H, W) uint8, as saved and read again.

    Raises:
        TypeError: if the images are not uint8.

    Source: Madry et al. 2018, section 2.1, without the random start.
    """
    if images.dtype != torch.uint8:
        raise TypeError(f"attack starts from uint8 images, as they are saved, got {images.dtype}; quantize them first")
    start, radius = images.float() / 255, levels / 255
    changed = start.clone()
    for _ in range(steps):
        changed = changed.detach().requires_grad_(True)
        (gradient,) = torch.autograd.grad(distance(changed).sum(), changed)
        step = (changed.detach() - radius * _STEP * gradient.sign() - start).clamp(-radius, radius)
        changed = (start + step).clamp(0, 1)
    return quantize(changed.detach())


def map_distance(metric: MapMetric, extractor: Extractor, pictures: Tensor) -> Distance:
    """Return a metric on feature maps as a function of the images alone; the maps compared with are kept.

    Args:
        metric: less is better.
        extractor: the network that it names.
        pictures: (B, 3, h, w) uint8, what images are compared with.
    """
    with torch.no_grad():
        wanted = extractor.maps(pictures, metric.layers)
    layers = tuple(wanted) if metric.layers is None else metric.layers

    def distance(images: Tensor) -> Tensor:
        maps = extractor.maps(images, layers)
        return torch.stack([metric.compare(maps[layer], wanted[layer]).double() for layer in layers]).mean(0)

    return distance


def psnr_distance(metric: PSNR, pictures: Tensor) -> Distance:
    """Return PSNR, negative, as a function of the images alone; see `map_distance`."""
    levels = pictures.float() / 255
    return lambda images: -metric.compare(images, levels).double()


def joint(distances: Sequence[Distance], spans: Sequence[float]) -> Distance:
    """Return the mean of distances, each in parts of its range from the content to the style."""
    return lambda images: torch.stack(
        [distance(images) / span for distance, span in zip(distances, spans, strict=True)]
    ).mean(0)


def edit(name: str, images: Tensor, style: Tensor) -> Tensor:
    """Return images with an edit that adds no style, (B, 3, H, W) uint8.

    Args:
        name: one of `EDITS`.
        images: (B, 3, H, W) uint8.
        style: (B, 3, h, w) uint8, whose channel statistics the palette swap takes.

    Raises:
        ValueError: for another name.
    """
    if name == "unsharp":
        levels = images / 255
        blurred = gaussian_blur(levels, _SHARP_PX * images.shape[-1] / _UNIT_PX)
        return quantize((levels + _SHARPEN * (levels - blurred)).clamp(0, 1))
    if name == "noise":
        return noisy(images, _NOISE_LEVELS, 0)
    if name == "palette_swap":
        return quantize(match_color_statistics(images / 255, style / 255))
    if name == "jpeg":
        return compressed(images, _JPEG_QUALITY)
    raise ValueError(f"edit expects one of {', '.join(EDITS)}, got {name!r}")


def noisy(images: Tensor, levels: float, seed: int) -> Tensor:
    """Return uint8 images with Gaussian noise of a deviation in levels of 255."""
    noise = np.random.Generator(np.random.PCG64(seed)).standard_normal(tuple(images.shape), dtype=np.float32)
    return quantize(images / 255 + torch.from_numpy(noise) * (levels / 255))


def compressed(images: Tensor, quality: int) -> Tensor:
    """Return uint8 images as a JPEG file of some quality shows them."""
    shown = []
    for image in images:
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=quality)
        shown.append(torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1))
    return torch.stack(shown)
