"""What is measured of a result beside its own losses: pixels, edges, regions, and distances of a network that judges.

The judge (`compact_judge`) has another architecture and other weights than the encoder whose features are matched.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.edges import sobel_magnitude
from stylebench.functional.gram import gram_matrix
from stylebench.functional.pixels import luma, psnr
from stylebench.functional.segments import region_iou
from stylebench.functional.style_distance import relative_distance
from stylebench.metrics.feature_pairs import PerceptualMaps
from stylebench.metrics.pairs import ssim_of
from stylebench.nn.encoders import JudgeEncoder

_JUDGED = ("stem", "mix1", "mix3")
_EDGE_SHARE = 0.1  # of a picture's pixels that count as edges, so that contrast does not
_LEAST_EDGE = 1e-6  # where strengths differ by rounding alone
_BLUR = (1.0, 4.0, 6.0, 4.0, 1.0)  # binomial, sigma 1 px: without it the grain of a picture is all edges


@cache
def judge() -> JudgeEncoder:
    """Return the network that only judges."""
    return JudgeEncoder("shipped", ["mix2"], list(_JUDGED), "mix5")


@torch.no_grad()
def style_distance(image: Tensor, style: Tensor) -> float:
    """Return the judge's relative distance of Gram matrices, mean of its style layers, in [0, 1]."""
    found = [judge()(picture, _JUDGED) for picture in (image, style)]
    grams = [[gram_matrix(maps[layer]) for layer in _JUDGED] for maps in found]
    return float(torch.stack([relative_distance(a, b) for a, b in zip(*grams, strict=True)]).mean())


@torch.no_grad()
def perceptual_distance(first: Tensor, second: Tensor) -> float:
    """Return the judge's squared distance of unit-length features, mean of its style layers, in [0, 2]."""
    metric = PerceptualMaps("compact_judge")
    maps = [judge()(picture, _JUDGED) for picture in (first, second)]
    return float(torch.stack([metric.compare(maps[0][layer], maps[1][layer]) for layer in _JUDGED]).mean())


def smoothed(image: Tensor) -> Tensor:
    """Return (B, 3, H, W) pictures after a blur of 1 px, in float64."""
    taps = torch.tensor(_BLUR, dtype=torch.float64) / sum(_BLUR)
    kernel = torch.outer(taps, taps).expand(3, 1, -1, -1)
    return F.conv2d(F.pad(image.double(), (2, 2, 2, 2), mode="replicate"), kernel, groups=3)


def edge_map(image: Tensor) -> Tensor:
    """Return where the strongest tenth of a picture's edges is, after a blur of 1 px.

    Args:
        image: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 1, H, W) bool; at least a tenth, where strengths are equal.
    """
    strength = sobel_magnitude(smoothed(image).clamp(0, 1))
    least = strength.flatten(1).quantile(1 - _EDGE_SHARE, dim=1)[:, None, None, None]
    return (strength >= least - _LEAST_EDGE) & (strength > _LEAST_EDGE)


def edge_agreement(first: Tensor, second: Tensor, tolerance_px: int = 2) -> float:
    """Return F1 of the edges of two pictures: an edge is found where the other has one within a square of tolerance.

    Args:
        first: (1, 3, H, W) in [0, 1].
        second: the same.
        tolerance_px: along either axis.

    Returns:
        In [0, 1]; 1 where neither has an edge.
    """
    one, other = edge_map(first).float(), edge_map(second).float()
    if not (one.any() or other.any()):
        return 1.0
    side = 2 * tolerance_px + 1
    near_one, near_other = (F.max_pool2d(edges, side, stride=1, padding=tolerance_px) for edges in (one, other))
    precision = float((one * near_other).sum() / one.sum().clamp(min=1))
    recall = float((other * near_one).sum() / other.sum().clamp(min=1))
    return 2 * precision * recall / max(precision + recall, 1e-12)


def ssim(first: Tensor, second: Tensor) -> float:
    """Return the structural similarity of two (1, 3, H, W) pictures in [0, 1]."""
    return float(ssim_of(first.double(), second.double(), valid=True))


def decibels(first: Tensor, second: Tensor) -> float:
    """Return the peak signal-to-noise ratio of two (1, 3, H, W) pictures in [0, 1]."""
    return float(psnr(first, second, peak=1.0))


def overlap(image: Tensor, regions: Tensor | None) -> float | None:
    """Return how well known regions are told apart by color (`region_iou`); None where they are not known."""
    return None if regions is None else float(region_iou(image, regions))


def wavelength(image: Tensor) -> float:
    """Return the mean wavelength of a picture's brightness in pixels: one over the mean frequency by energy.

    The mean brightness is taken off, and a cosine window hides that opposite borders do not fit.

    Args:
        image: (1, 3, H, W).
    """
    plane = luma(image)[0, 0]
    height, width = plane.shape
    window = torch.outer(torch.hann_window(height, dtype=plane.dtype), torch.hann_window(width, dtype=plane.dtype))
    power = torch.fft.rfft2((plane - plane.mean()) * window).abs().square()
    power[:, 1 : (width + 1) // 2] *= 2  # `rfft2` leaves out the mirrored half
    across, down = torch.fft.rfftfreq(width, dtype=plane.dtype), torch.fft.fftfreq(height, dtype=plane.dtype)
    frequency = (across.square()[None] + down.square()[:, None]).sqrt()
    return float(power.sum() / (power * frequency).sum().clamp(min=1e-12))
