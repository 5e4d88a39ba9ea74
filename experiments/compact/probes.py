"""What a linear readout of frozen features knows about held-out renders: the style, and the main object."""

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.functional.color_match import match_color_statistics
from stylebench.nn.encoders.base import Encoder
from stylebench.worlds import procstyle

_SIDE, _BATCH = 64, 50
_STYLE_SCENES = (120, 100)  # for fitting and for testing, each in all eight named styles
_OBJECT_SCENES = (6000, 1000)  # for fitting and for testing, each in one style
_DECAYS = (1e-3, 1e-2, 3e-2)  # tried on a fifth of the scenes for fitting
_OBJECT_STRIDE = 8  # objects are read from this stride on
_LEAST_VARIANCE = 1e-5


def style_probe(encoder: Encoder, matched: bool) -> float:
    """Tell the eight named styles apart, on means and deviations at the style layers.

    Args:
        encoder: frozen.
        matched: first give every picture the channel means and deviations of one picture.

    Returns:
        Accuracy on scenes that were not fitted, in [0, 1].
    """
    parts = []
    for images, labels in _styled():
        shown = match_color_statistics(images.float() / 255, _palette()) if matched else images
        parts += [_features(encoder, shown, encoder.style_layers, peaks=False), labels]
    return _probe(*parts)


def object_probe(encoder: Encoder, styled: bool) -> float:
    """Name the main object, the one with the largest visible area.

    Read from means, deviations and maxima at all rectified maps of stride 8 and more, up to the deepest style layer.

    Args:
        encoder: frozen.
        styled: in `photo` and the eight named styles, fitted on all of them together; else in `photo`.

    Returns:
        Accuracy on scenes that were not fitted, in [0, 1].
    """
    reached = encoder.taps[: 1 + max(encoder.taps.index(layer) for layer in encoder.style_layers)]
    layers = [group.tap for group in encoder.groups() if encoder.strides[group.tap] >= _OBJECT_STRIDE]
    parts = []
    for images, labels in _scenes(styled):
        parts += [_features(encoder, images, [layer for layer in layers if layer in reached], peaks=True), labels]
    return _probe(*parts)


@functools.cache
def _styled() -> list[tuple[Tensor, Tensor]]:
    """Render pictures and styles, for fitting and for testing."""
    styles = list(procstyle.NAMED_STYLES.values())
    parts = []
    for part, count in zip(("fit", "test"), _STYLE_SCENES, strict=True):
        scenes = procstyle.draw_scenes([f"probe-style-{part}-{i}" for i in range(count)])
        images = torch.cat([procstyle.render(scenes, style, range(count), _SIDE) for style in styles])
        parts.append((images, torch.arange(len(styles)).repeat_interleave(count)))
    return parts


@functools.cache
def _palette() -> Tensor:
    """Render the picture whose colors all others are given, (1, 3, H, W) in [0, 1]."""
    return procstyle.render(procstyle.draw_scenes(["probe-palette"]), procstyle.PHOTO, [0], _SIDE).float() / 255


@functools.cache
def _scenes(styled: bool) -> list[tuple[Tensor, Tensor]]:
    """Render pictures and main objects, for fitting and for testing."""
    styles = [procstyle.PHOTO, *(procstyle.NAMED_STYLES.values() if styled else ())]
    parts = []
    for part, count in zip(("fit", "test"), _OBJECT_SCENES, strict=True):
        scenes = procstyle.draw_scenes([f"probe-object-{part}-{i}" for i in range(count)])
        images = procstyle.render(scenes, [styles[i % len(styles)] for i in range(count)], range(count), _SIDE)
        parts.append((images, procstyle.scene_labels(scenes, _SIDE).main_class))
    return parts


@torch.no_grad()
def _features(encoder: Encoder, images: Tensor, layers: Sequence[str], peaks: bool) -> Tensor:
    rows = []
    for part in images.split(_BATCH):
        maps = encoder(part if part.is_floating_point() else part.float() / 255, layers)
        flat = [features.flatten(2) for features in maps.values()]
        columns = [f.mean(2) for f in flat] + [(f.var(2, correction=0) + _LEAST_VARIANCE).sqrt() for f in flat]
        rows.append(torch.cat(columns + [f.amax(2) for f in flat] * peaks, 1))
    return torch.cat(rows)


def _probe(fit: Tensor, fit_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """Fit on one part with the decay that does best on a held-back fifth of it, and score on the other part."""
    order = torch.randperm(len(fit), generator=torch.Generator().manual_seed(0))
    back, kept = order[: len(fit) // 5], order[len(fit) // 5 :]
    scores = [_accuracy(fit[kept], fit_labels[kept], fit[back], fit_labels[back], decay) for decay in _DECAYS]
    return _accuracy(fit, fit_labels, test, test_labels, _DECAYS[scores.index(max(scores))])


def _accuracy(fit: Tensor, fit_labels: Tensor, test: Tensor, test_labels: Tensor, decay: float) -> float:
    """Fit a multinomial logistic regression on standardized features, and score it."""
    mean, deviation = fit.mean(0), fit.std(0).clamp(min=1e-6)
    inputs = (fit - mean) / deviation
    weight = torch.zeros(int(fit_labels.max()) + 1, fit.shape[1], requires_grad=True)
    bias = torch.zeros(len(weight), requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(inputs @ weight.T + bias, fit_labels) + decay * weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)  # type: ignore[arg-type]
    with torch.no_grad():
        logits = ((test - mean) / deviation) @ weight.T + bias
    return (logits.argmax(1) == test_labels).double().mean().item()
