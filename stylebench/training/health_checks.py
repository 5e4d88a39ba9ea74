"""Figures that give away runs which fail without an error: cheap, on the pictures of a sample grid.

Each figure is one number for a batch, NaN where the pictures can't tell (a gray style asks for gray outputs; a style
that looks like the contents asks for no change). `CHECKS` holds the bound of each, with what to look at beyond it.
The bounds are ours: healthy renders of both worlds, color matches and mild blends stay on the good side (tests).
"""

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color_match import match_color_statistics
from stylebench.functional.pixels import luma, to_float64

_GRID = 16  # cells a side in which layouts are compared: coarse enough for moved contours and added texture
_LEAST_SPREAD = 0.03  # standard deviation of brightness below which a picture is as good as flat
_LEAST_CHROMA = 0.04  # mean chroma below which pictures are as good as gray; JPEG noise alone gives 0.01
_LEAST_CHANGE = 0.04  # change of color (root mean square) below which a style asks for next to none
_LEAST_CONTRAST = 0.01  # of a layout (root mean square); below it a layout is as good as flat
_LEAST_VARIETY = 0.2  # mean distance, in units of contrast, below which pictures are as good as alike
_LEAST_MEAN = 1e-6  # mean activation below which a channel is dead
_LEAST_SIDE = 4  # positions a side below which a map shows more of the border than of the picture
_FARTHEST = 3.0  # |ln| at which a channel's deviation from its expected mean stops counting


@dataclass(frozen=True)
class Check:
    """What a figure must not exceed.

    Attributes:
        name: of the figure and of the function that computes it.
        bound: beyond it a run is likely to have failed.
        worse: the side of the bound that is bad.
        advice: what it means and what to look at, for a warning.
    """

    name: str
    bound: float
    worse: Literal["below", "above"]
    advice: str

    def fails(self, value: float) -> bool:
        """Tell whether a value lies beyond the bound; NaN, "can't tell", does not."""
        return value < self.bound if self.worse == "below" else value > self.bound


CHECKS = (
    Check(
        "grey_output",
        0.2,
        "below",
        "outputs have far less contrast or color than contents and styles: look for a style weight that is too large, "
        "inputs normalized twice, or a network that has just begun to learn",
    ),
    Check(
        "color_inversion",
        -0.5,
        "below",
        "outputs are bright where contents are dark: look for a sign or a channel order, or a style without any bright "
        "or dark region of its own",
    ),
    Check(
        "identity_collapse",
        0.05,
        "below",
        "outputs equal their contents, whatever the style: raise the style weight, lower the content or identity "
        "weight, or check that the style reaches the network",
    ),
    Check(
        "style_copied",
        0.4,
        "above",
        "outputs are laid out as the style, not as their contents: raise the content weight, or compare styles by "
        "statistics that know no position",
    ),
    Check(
        "mode_collapse",
        0.1,
        "below",
        "outputs are alike whatever they are made from: check that contents (or latents) reach the network, and lower "
        "the adversarial or style weight",
    ),
    Check(
        "wrong_preprocessing",
        1.0,
        "above",
        "an encoder's activations are far from those on the pictures it was calibrated on: give it images in [0, 1], "
        "RGB, not normalized before; it normalizes them itself",
    ),
)


def measure_health(outputs: Tensor, contents: Tensor, styles: Tensor | None = None) -> dict[str, float]:
    """Compute every figure that needs pictures only, by the name of its check.

    Args:
        outputs: (B, 3, H, W) RGB, uint8, or floating in [0, 1].
        contents: (B, 3, h, w) what they were made from.
        styles: (1 or B, 3, h', w') the style asked for, or None where there are none.

    Returns:
        The figures; those that need styles are left out where there are none.

    Raises:
        ValueError: if a shape or a count does not fit.
    """
    found = {
        "grey_output": grey_output(outputs, contents, styles),
        "color_inversion": color_inversion(outputs, contents),
        "mode_collapse": mode_collapse(outputs, contents),
    }
    if styles is not None:
        found["identity_collapse"] = identity_collapse(outputs, contents, styles)
        found["style_copied"] = style_copied(outputs, contents, styles)
    return found


@torch.no_grad()
def grey_output(outputs: Tensor, contents: Tensor, styles: Tensor | None = None) -> float:
    """Compare contrast and chroma of outputs with the lesser of contents and styles; the smaller ratio counts.

    Contrast is the standard deviation of brightness in a picture, chroma the mean of largest minus smallest channel.
    Pictures that are flat, or gray, themselves ask for neither.

    Args:
        outputs: (B, 3, H, W) RGB, uint8, or floating in [0, 1].
        contents: (N, 3, h, w).
        styles: (M, 3, h', w') styles, or pictures of the domain asked for; None for none.

    Returns:
        About 1 for healthy outputs, 0 for gray ones; NaN if contents or styles are both flat and gray.

    Raises:
        ValueError: if a batch holds no RGB pictures.
    """
    asked = [contents] if styles is None else [contents, styles]
    for pictures in (outputs, *asked):
        _check_rgb(pictures)
    ratios = []
    for measure, least in ((_spread, _LEAST_SPREAD), (_chroma, _LEAST_CHROMA)):
        lesser = min(measure(pictures) for pictures in asked)
        if lesser >= least:
            ratios.append(measure(outputs) / lesser)
    return min(ratios, default=math.nan)


@torch.no_grad()
def color_inversion(outputs: Tensor, contents: Tensor) -> float:
    """Correlate the brightness of outputs and contents over a grid of cells, averaged over the batch.

    Args:
        outputs: (B, 3, H, W) RGB, uint8, or floating in [0, 1].
        contents: (B, 3, h, w).

    Returns:
        In [-1, 1]; NaN if every pair has a flat picture.

    Raises:
        ValueError: if shapes or counts do not fit.
    """
    _check_pairs(outputs, contents)
    return _mean(_correlations(_layout(luma(outputs)), _layout(luma(contents))))


@torch.no_grad()
def identity_collapse(outputs: Tensor, contents: Tensor, styles: Tensor) -> float:
    """Divide the change from contents to outputs by the least that could pass for the style: its color statistics.

    Leave out contents that are in the domain asked for already: there an untouched content is right, and this figure
    can't know. A style with the colors of a content asks for too little to tell, so such pairs do not count.

    Args:
        outputs: (B, 3, H, W) RGB, uint8, or floating in [0, 1].
        contents: (B, 3, h, w).
        styles: (1 or B, 3, h', w').

    Returns:
        0 for untouched contents, about 1 and more for a style; NaN if no style differs from its content in color.

    Raises:
        ValueError: if shapes or counts do not fit.
    """
    _check_pairs(outputs, contents)
    _check_pairs(outputs, styles, shared=True)
    made, before = to_float64(outputs), to_float64(contents)
    if made.shape != before.shape:
        before = F.interpolate(before, size=made.shape[-2:], mode="bilinear", antialias=True)  # (B, 3, H, W)
    asked = _rms(match_color_statistics(before, to_float64(styles)) - before)  # (B,)
    able = asked >= _LEAST_CHANGE
    return float(_rms(made - before)[able].mean() / asked[able].mean()) if able.any() else math.nan


@torch.no_grad()
def style_copied(outputs: Tensor, contents: Tensor, styles: Tensor) -> float:
    """Compare layouts: how far outputs correlate with their styles over a grid, less how far with their contents.

    Signs do not count, since a style may swap bright and dark.

    Args:
        outputs: (B, 3, H, W) RGB, uint8, or floating in [0, 1].
        contents: (B, 3, h, w).
        styles: (1 or B, 3, h', w').

    Returns:
        In [-1, 1]: below 0 where the content's layout is kept, near 1 for a copy of the style; NaN if every triple has
        a flat picture.

    Raises:
        ValueError: if shapes or counts do not fit.
    """
    _check_pairs(outputs, contents)
    _check_pairs(outputs, styles, shared=True)
    made = _layout(to_float64(outputs))
    to_style = _correlations(made, _layout(to_float64(styles)).expand_as(made)).abs()
    return _mean(to_style - _correlations(made, _layout(to_float64(contents))).abs())


@torch.no_grad()
def mode_collapse(outputs: Tensor, references: Tensor) -> float:
    """Divide the variety of outputs by that of pictures that differ as outputs should.

    Variety is the mean distance between two pictures over a grid of cells (so that texture and noise do not pass for
    it), in units of the contrast within pictures: a pale style makes all distances small, and is no collapse.

    Args:
        outputs: (B, 3, H, W) RGB, uint8, or floating in [0, 1], made from different contents, or different latents.
        references: (N, 3, h, w) the contents, or for latents and generators real pictures of the domain.

    Returns:
        About 1 for healthy outputs, 0 if all are one picture; NaN for fewer than two outputs, or alike references.

    Raises:
        ValueError: if a batch holds no RGB pictures.
    """
    _check_rgb(outputs)
    _check_rgb(references)
    wanted = _variety(references)
    if len(outputs) < 2 or not wanted >= _LEAST_VARIETY:
        return math.nan
    return _variety(outputs) / wanted


@torch.no_grad()
def wrong_preprocessing(maps: Mapping[str, Tensor], expected: Mapping[str, Tensor] | None = None) -> float:
    """Measure how far an encoder's mean activations on a batch are from those on its calibration pictures.

    A tap's figure is the mean over channels of |ln(mean / expected)|, each at most 3, so that a few silent channels do
    not decide; the median over taps counts, since the sparse taps at the end of a network differ most from one set of
    pictures to the next. It finds images of another scale (0 to 255, divided by 255 twice) in every encoder, and of
    another zero (normalized before) in most. It can't find a wrong profile in an encoder that was normalized under that
    profile, where means are 1 by construction, nor BGR.

    Args:
        maps: (B, C, H, W) rectified activations by tap, of real pictures, four at least; of a normalized encoder only
            the taps whose means were brought to 1, `[group.tap for group in encoder.groups()]`.
        expected: (C,) mean activations by tap on calibration pictures; None for an encoder normalized to 1.

    Returns:
        Near 0 for pictures like those of the calibration; ln 2 where every channel is twice or half as active; NaN
        if all maps are smaller than 4 x 4.

    Raises:
        ValueError: if there is no map, a shape is another one, or a tap has no expected means of its channel count.
    """
    if not maps:
        raise ValueError("expected activations of at least one tap, got none; name the taps that the method reads")
    figures = []
    for tap, activations in maps.items():
        if activations.ndim != 4:
            raise ValueError(f"expected activations (B, C, H, W) at tap {tap}, got shape {tuple(activations.shape)}")
        if min(activations.shape[2:]) < _LEAST_SIDE:
            continue
        means = activations.double().mean((0, 2, 3))  # (C,)
        known = torch.ones_like(means) if expected is None else _known(expected, tap, means)
        alive = known >= _LEAST_MEAN
        ratios = means[alive].clamp_min(_LEAST_MEAN) / known[alive]
        figures.append(float(ratios.log().abs().clamp(max=_FARTHEST).mean()) if alive.any() else 0.0)
    return statistics.median(figures) if figures else math.nan


def _known(expected: Mapping[str, Tensor], tap: str, means: Tensor) -> Tensor:
    if tap not in expected or expected[tap].shape != means.shape:
        raise ValueError(
            f"expected {len(means)} recorded means of tap {tap}, got {sorted(expected)}; measure them again"
        )
    return expected[tap].to(means)


def _spread(pictures: Tensor) -> float:
    return float(luma(pictures).std((1, 2, 3), unbiased=False).mean())


def _chroma(pictures: Tensor) -> float:
    values = to_float64(pictures)
    return float((values.amax(1) - values.amin(1)).mean())


def _layout(values: Tensor) -> Tensor:
    """Average over cells: (B, C, H, W) to (B, C, cells)."""
    return F.adaptive_avg_pool2d(values, _GRID).flatten(2)


def _correlations(first: Tensor, second: Tensor) -> Tensor:
    """Correlate layouts, each channel around its mean: (B, C, cells) twice to (B,), NaN for a flat one."""
    x, y = (part - part.mean(2, keepdim=True) for part in (first, second))
    spread_x, spread_y = (part.square().mean((1, 2)).sqrt() for part in (x, y))  # (B,)
    flat = torch.minimum(spread_x, spread_y) < _LEAST_CONTRAST
    return torch.where(flat, math.nan, (x * y).mean((1, 2)) / (spread_x * spread_y).clamp_min(1e-12))


def _mean(values: Tensor) -> float:
    return float(values.nanmean())


def _rms(differences: Tensor) -> Tensor:
    return differences.square().mean((1, 2, 3)).sqrt()  # (B,)


def _variety(pictures: Tensor) -> float:
    layouts = _layout(to_float64(pictures))  # (N, C, cells)
    if len(layouts) < 2:
        return math.nan
    contrast = float((layouts - layouts.mean(2, keepdim=True)).square().mean((1, 2)).sqrt().mean())
    flat = layouts.flatten(1)  # (N, C * cells)
    return float(torch.pdist(flat).mean() / flat.shape[1] ** 0.5) / max(contrast, _LEAST_CONTRAST)


def _check_rgb(pictures: Tensor) -> None:
    if pictures.ndim != 4 or pictures.shape[1] != 3 or not len(pictures):
        raise ValueError(f"expected (B, 3, H, W) RGB pictures, got shape {tuple(pictures.shape)}")


def _check_pairs(outputs: Tensor, others: Tensor, shared: bool = False) -> None:
    _check_rgb(outputs)
    _check_rgb(others)
    if len(others) != len(outputs) and not (shared and len(others) == 1):
        raise ValueError(
            f"expected as many pictures{' (or one)' if shared else ''} as the {len(outputs)} outputs to compare them "
            f"with, got {len(others)}"
        )
