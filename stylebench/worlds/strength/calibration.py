"""From raw values to strengths: curves over renders of known strength, and how far they can be trusted."""

from typing import NamedTuple

import torch
from torch import Tensor

from stylebench.worlds.readouts import content_curves, invert_curves, repeated_share, rising

STEP = 0.125
STRENGTHS = tuple(STEP * k for k in range(13))  # 0 .. 1.5
_ONE = STRENGTHS.index(1.0)
_WINDOW = 2  # steps over which a curve must rise, so that noise at a node doesn't count as a fall
_LEAST_RISE = 0.04  # over a window, in parts of the whole change: about a sixth of an even pace
_LEAST_OWN_RISE = 0.2  # of a content's own curve over a window, in parts of the mean curve's
_MOST_NOISE = 0.1  # spread of single readings over nuisance, in strength: 0.018 in the mean over 32
_DEVIATIONS = 3  # the whole change must be at least so many times the spread over nuisance
_CONTENTS = 0.5  # share of the contents that must allow a reading


class Calibration(NamedTuple):
    """How the raw values of one part become strengths.

    Attributes:
        mean: (L,) mean raw values at the first L of `STRENGTHS`, up to which the curve can be followed.
        trust: (L,) share of a content's own deviation from it that counts.
        noise: (L,) spread of single readings over nuisance, in strength.
    """

    mean: Tensor
    trust: Tensor
    noise: Tensor

    @property
    def highest(self) -> float:
        """Strength up to which readings follow; stronger ones are carried on along the last piece of the curve."""
        return STRENGTHS[len(self.mean) - 1]

    def curves(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Return contents' own curves (L, B), of their samples (K, all strengths, B), and which of them rise (B,)."""
        own = content_curves(samples[:, : len(self.mean)], self.mean, self.trust)
        return rising(own, self.mean), _rises(own, self.mean)

    def strengths(self, values: Tensor, curves: Tensor) -> Tensor:
        """Turn raw values (B,) into strengths, by the contents' curves (L, B)."""
        return invert_curves(values, curves, torch.tensor(STRENGTHS[: len(curves)]))


def distinct(visible: Tensor, deviation: Tensor) -> Tensor:
    """Return which contents show a change above the spread over nuisance.

    Args:
        visible: (B,) bool, whether the change can be seen at all.
        deviation: (B,) spread of raw values (0 = source, 1 = style) over the truth.

    Returns:
        (B,) bool.
    """
    return visible & (deviation * _DEVIATIONS <= 1)


def calibrate(samples: Tensor, readable: Tensor) -> Calibration | None:
    """Calibrate one part.

    Args:
        samples: (K, L, B) raw values of K >= 2 draws at `STRENGTHS` for B contents.
        readable: (B,) bool, of `distinct`.

    Returns:
        The calibration, or None if the part cannot be read: too few contents show it, its curve does not rise up to the
        strength of the style or falls off beyond, or single readings are too noisy.
    """
    if readable.sum() < max(2, _CONTENTS * len(readable)):
        return None
    samples = samples[:, :, readable]
    mean = samples.mean((0, 2))  # (L,)
    rise = mean[_WINDOW:] - mean[:-_WINDOW]
    rise = torch.cat([rise[:1].expand(_WINDOW), rise])  # (L,): up to each node
    noise = samples.var(0).mean(1).sqrt() * (_WINDOW * STEP) / rise.clamp(min=1e-6)
    good = (rise >= _LEAST_RISE) & (noise <= _MOST_NOISE)
    top = int(good.long().cumprod(0).sum()) - 1
    while top > 0 and mean[top] - mean[top - 1] < _LEAST_RISE / _WINDOW:
        top -= 1  # what lies beyond is read along the last piece, which must not be flat
    if top < _ONE or mean[top:].min() < mean[_ONE] - _LEAST_RISE:
        return None
    kept = slice(top + 1)
    calibration = Calibration(rising(mean[kept, None], mean[kept])[:, 0], repeated_share(samples)[kept], noise[kept])
    enough = calibration.curves(samples)[1].sum() >= max(2, _CONTENTS * len(readable))
    return calibration if enough else None


def _rises(curves: Tensor, mean: Tensor) -> Tensor:
    """Return which (L, B) curves rise over every window by at least a part of the mean curve's rise there."""
    rise = curves[_WINDOW:] - curves[:-_WINDOW]
    return (rise >= _LEAST_OWN_RISE * (mean[_WINDOW:] - mean[:-_WINDOW])[:, None]).all(0)
