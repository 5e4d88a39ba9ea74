"""Translators: what evaluation, sample grids, `stylize`, exports and `stylebench.load` see of a trained model.

Plain torch modules with one inference call, `translate(images, style=..., **controls)`. Controls are declared as data,
so that every consumer can list and check them. A model that learned its style takes no style pictures; one that does
derives from `StyleTranslator` (`style_translators.py`).
"""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from stylebench.nn.bands import RunsInBands

RANGE_TOLERANCE = 1e-3  # a quarter of a grey level: what antialiased resizing in float32 may overshoot by


class Control(NamedTuple):
    """A number that steers a translator at run time.

    Attributes:
        name: keyword of `translate`.
        low: smallest allowed value.
        high: largest allowed value.
        default: value where none is given.
        help: one line: meaning and unit.
        whole: whether only whole numbers make sense.
    """

    name: str
    low: float
    high: float
    default: float
    help: str
    whole: bool = False

    @property
    def span(self) -> str:
        """What may be given and what is taken otherwise, in words."""
        if self.whole:
            return f"{int(self.low)} .. {int(self.high)}, default {int(self.default)}"
        return f"{self.low:g} .. {self.high:g}, default {self.default:g}"

    def check(self, value: Any) -> float:
        """Return a given value as a number.

        Raises:
            TypeError: if it is not a number.
            ValueError: if it is out of range.
        """
        if isinstance(value, bool) or not isinstance(value, Real):
            raise TypeError(f"control {self.name} is a number, got {type(value).__name__} {value!r}")
        if not self.low <= float(value) <= self.high:
            raise ValueError(f"control {self.name} lies in [{self.low:g}, {self.high:g}], got {value} ({self.help})")
        if self.whole and not float(value).is_integer():
            raise ValueError(f"control {self.name} is a whole number, got {value} ({self.help})")
        return float(value)


class Choice(NamedTuple):
    """A word out of a few that steers a translator at run time.

    Attributes:
        name: keyword of `translate`.
        options: the words.
        default: the word where none is given.
        help: one line: meaning.
    """

    name: str
    options: tuple[str, ...]
    default: str
    help: str

    @property
    def span(self) -> str:
        """What may be given and what is taken otherwise, in words."""
        return f"{' | '.join(self.options)}, default {self.default}"

    def check(self, value: Any) -> str:
        """Return a given word.

        Raises:
            ValueError: if it is not one of the options.
        """
        word = "none" if value is None and "none" in self.options else str(value)  # a folder 2020 is read as a number
        if word not in self.options:
            raise ValueError(f"control {self.name} is one of {', '.join(self.options)}, got {value!r} ({self.help})")
        return word


class Guides(NamedTuple):
    """Pictures that steer a translation, beside the controls; checked.

    Attributes:
        styles: (1 or B, 3, h, w) pictures in [0, 1] of any size, one or more, or what `encode_styles` made of them.
        weights: a share of each style, with sum 1.
        masks: (1 or B, K, H, W) 0 or 1: where each of the K styles goes; None for everywhere.
    """

    styles: tuple[Any, ...] = ()
    weights: tuple[float, ...] = ()
    masks: Tensor | None = None


class Translator(nn.Module):
    """Base of all translators: checks, evaluation mode, shapes and ranges. Subclasses define `render`.

    Attributes:
        controls: what steers it; of the class, or of the object where its settings give the defaults.
        takes_style: whether it needs pictures of the style.
        takes_content: whether it needs pictures of the content; else only their size counts.
        works_untrained: whether it can be used without a training run: it optimizes each picture.
        enlarges: by how much results are higher and wider than the images.
        watch: for one that optimizes: called with an `image_optimization.Progress` at every evaluation.
    """

    controls: Sequence[Control | Choice] = ()
    takes_style: bool = False
    takes_content: bool = True
    works_untrained: bool = False
    enlarges: int = 1
    watch: Callable[[Any], None] | None = None

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU if it has none."""
        return next(self.parameters(), next(self.buffers(), torch.empty(0))).device

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return the translated images; called without gradients, in evaluation mode, with every control given.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], on the translator's device.
            guides: pictures of styles, where the translator takes them.
            **controls: a value for each of `self.controls`.

        Returns:
            (B, 3, enlarges * H, enlarges * W) RGB; `translate` clamps it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define render()")

    def check_controls(self, **given: Any) -> dict[str, Any]:
        """Return a value for every control: the given one, else its default.

        Raises:
            TypeError: if a value is not a number.
            ValueError: if a name is unknown or a value out of range; the message lists what there is.
        """
        known = {control.name: control for control in self.controls}
        for name in given:
            if name not in known:
                listed = ", ".join(f"{control.name} ({control.span})" for control in self.controls) or "none"
                raise ValueError(f"{type(self).__name__} has no control {name!r}; its controls: {listed}")
        return {name: control.check(given.get(name, control.default)) for name, control in known.items()}

    def check_guides(self, images: Tensor, style: Any, style_weights: Any, masks: Any) -> Guides:
        """Return the given pictures of styles, checked; a translator that learned its style takes none.

        Raises:
            ValueError: if there is anything but None.
        """
        if style is not None or style_weights is not None or masks is not None:
            raise ValueError(
                f"{type(self).__name__} learned its style in training and takes no style pictures, weights or masks; "
                "leave style out, or use a model that takes any style (stylebench list models)"
            )
        return Guides()

    @torch.no_grad()
    def translate(
        self, images: Tensor, *, style: Any = None, style_weights: Any = None, masks: Any = None, **controls: Any
    ) -> Tensor:
        """Translate images, without gradients and in evaluation mode (which is restored afterwards).

        Args:
            images: (B, 3, H, W) or (3, H, W) RGB, floating point in [0, 1], any device.
            style: for a translator that takes styles: a picture (3, h, w) or (1 or B, 3, h, w), or a list of them, of
                any sizes; None for one that learned its style.
            style_weights: a share of each of several styles, >= 0; None for equal ones.
            masks: (K, H, W) or (1 or B, K, H, W), 0 or 1: where each of K styles goes; None for everywhere.
            **controls: see `controls`.

        Returns:
            The shape (both sides times `enlarges`), device and type of `images`, clamped to [0, 1].

        Raises:
            TypeError: if `images` is not a floating-point tensor, or a control is not a number.
            ValueError: if a shape, a range, a control or the styles are wrong.
        """
        chosen = self.check_controls(**controls)
        check_images(images)
        own = next(self.parameters(), next(self.buffers(), images))
        batch = images if images.ndim == 4 else images.unsqueeze(0)
        batch = batch.to(own.device, own.dtype).clamp(0.0, 1.0)  # (B, 3, H, W)
        guides = self.check_guides(batch, style, style_weights, masks)
        with _evaluating(self):
            result = self.render(batch, guides, **chosen).clamp(0.0, 1.0)
        result = result.to(images.device, images.dtype)
        return result if images.ndim == 4 else result.squeeze(0)


class ImageToImage(Translator):
    """A network that maps an image to an image of the same size.

    Args:
        generator: (B, 3, H, W) RGB in [0, 1] to the same shape; values outside [0, 1] are clamped.

    Attributes:
        band_threshold_px: pictures of more pixels are computed in bands, where the generator can; equal up to rounding.
    """

    band_threshold_px: ClassVar[int] = 4_000_000
    controls = (Control("alpha", 0.0, 1.0, 1.0, "strength: pixel mix of content (0) and stylized image (1)"),)

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        """Return the generator's output, unclamped and with its graph: for training."""
        output: Tensor = self.generator(images)
        return output

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return the mix of the images and the generator's clamped output; (B, 3, H, W) to the same shape."""
        if images.shape[-2] * images.shape[-1] > self.band_threshold_px and isinstance(self.generator, RunsInBands):
            output = self.generator.in_bands(images)
        else:
            output = self.generator(images)
        return torch.lerp(images, output.clamp(0.0, 1.0), controls["alpha"])


def translate_as_asked(
    model: Translator, images: Tensor, pictures: Mapping[str, Tensor], request: Mapping[str, Any]
) -> Tensor:
    """Translate images by a request, with those pictures beside them that the model takes.

    Args:
        model: the translator.
        images: (B, 3, H, W) in [0, 1].
        pictures: (1 or B, 3, h, w) pictures that there are, by the name of its input.
        request: controls: a value for all images, or a list with one for each.

    Returns:
        (B, 3, enlarges * H, enlarges * W) images in [0, 1].
    """
    taken = {name: pictures[name] for name in ("style",) if model.takes_style}
    listed = {name: values for name, values in request.items() if isinstance(values, list)}
    if not listed:
        return model.translate(images, **taken, **request)
    rows = list(zip(*listed.values(), strict=True))
    results, places = [], []
    for row in dict.fromkeys(rows):  # images with one request together
        chosen = [place for place, own in enumerate(rows) if own == row]
        beside = {name: shown[chosen] if len(shown) == len(images) else shown for name, shown in taken.items()}
        controls = {**request, **dict(zip(listed, row, strict=True))}
        results.append(model.translate(images[chosen], **beside, **controls))
        places += chosen
    return torch.cat(results)[torch.tensor(places, device=images.device).argsort()]


def check_images(images: Tensor) -> None:
    """Refuse what is not (B, 3, H, W) or (3, H, W) floating-point RGB in [0, 1].

    Raises:
        TypeError: if it is not a floating-point tensor.
        ValueError: if the shape or the range is another one, or values are not finite.
    """
    if not isinstance(images, Tensor):
        raise TypeError(f"expected a torch tensor of images, got {type(images).__name__}")
    if not images.is_floating_point():
        way_out = "divide by 255: images.float() / 255" if images.dtype == torch.uint8 else "convert it to float"
        raise TypeError(f"expected floating-point images in [0, 1], got {images.dtype}; {way_out}")
    if images.ndim not in (3, 4) or images.shape[-3] != 3 or images.numel() == 0:
        raise ValueError(f"expected images of shape (B, 3, H, W) or (3, H, W), got {tuple(images.shape)}")
    low, high = (float(value) for value in torch.aminmax(images.detach()))
    if math.isnan(low) or math.isnan(high):
        raise ValueError("the images hold values that are not numbers (NaN)")
    if low < -RANGE_TOLERANCE or high > 1.0 + RANGE_TOLERANCE:
        hint = "divide by 255" if high > 2.0 and low >= 0.0 else "rescale or clamp them"
        raise ValueError(f"expected images in [0, 1], got values from {low:.4g} to {high:.4g}; {hint}")


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode and give each of its parts back the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
