"""Perceptual color coordinates, against the published conversion the other way."""

import numpy as np
import pytest

from stylebench.worlds.procstyle.oklch import oklch_to_rgb

# sRGB to cone responses, and those to Oklab (B. Ottosson 2020).
CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929],
     [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468],
     [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


def oklch(rgb: np.ndarray) -> tuple[float, float, float]:
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lightness, a, b = LAB @ np.cbrt(CONES @ linear)
    return float(lightness), float(np.hypot(a, b)), float(np.arctan2(b, a) / (2 * np.pi))


def test_colors_come_back() -> None:
    for rgb in np.random.default_rng(0).uniform(0.02, 0.98, (200, 3)):
        assert oklch_to_rgb(*oklch(rgb)) == pytest.approx(rgb, abs=1e-5)


def test_red_has_its_published_coordinates() -> None:
    assert oklch(np.array([1.0, 0.0, 0.0])) == pytest.approx((0.62796, 0.25768, 29.234 / 360), abs=1e-4)


def test_too_strong_colors_keep_lightness_and_fit_the_display() -> None:
    strong = oklch_to_rgb(0.5, 0.5, 0.4)
    assert all(0 <= part <= 1 for part in strong)
    assert strong[1] > max(strong[0], strong[2])
    assert oklch(np.array(strong))[0] == pytest.approx(0.5, abs=1e-3)
