"""Translators: what evaluation, sample grids, `stylize`, exports and `stylebench.load` see of a trained model.

Plain torch modules with one inference call, `translate(images, **controls)`. Controls are declared as data, so that
every consumer can list and check them.
"""

import contextlib
import math
from collections.abc import Iterator
from numbers import Real
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

RANGE_TOLERANCE = 1e-3  # a quarter of a grey level: what antialiased resizing in float32 may overshoot by


class Control(NamedTuple):
    """A number that steers a translator at run time.

    Attributes:
        name: keyword of `translate`.
        low: smallest allowed value.
        high: largest allowed value.
        default: value where none is given.
        help: one line: meaning and unit.
    """

    name: str
    low: float
    high: float
    default: float
    help: str


class Translator(nn.Module):
    """Base of all translators: checks, evaluation mode, shapes and ranges. Subclasses define `render`."""

    controls: ClassVar[tuple[Control, ...]] = ()

    def render(self, images: Tensor, **controls: float) -> Tensor:
        """Return the translated images; called without gradients, in evaluation mode, with every control given.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], on the translator's device.
            **controls: a value for each of `self.controls`.

        Returns:
            (B, 3, H, W) RGB; `translate` clamps it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define render()")

    @classmethod
    def check_controls(cls, **given: float) -> dict[str, float]:
        """Return a value for every control: the given one, else its default.

        Raises:
            TypeError: if a value is not a number.
            ValueError: if a name is unknown or a value out of range; the message lists what there is.
        """
        known = {control.name: control for control in cls.controls}
        for name, value in given.items():
            if name not in known:
                listed = ", ".join(f"{c.name} in [{c.low:g}, {c.high:g}]" for c in cls.controls) or "none"
                raise ValueError(f"{cls.__name__} has no control {name!r}; its controls: {listed}")
            control = known[name]
            if isinstance(value, bool) or not isinstance(value, Real):
                raise TypeError(f"control {name} is a number, got {type(value).__name__} {value!r}")
            if not control.low <= float(value) <= control.high:
                raise ValueError(
                    f"control {name} lies in [{control.low:g}, {control.high:g}], got {value} ({control.help})"
                )
        return {name: float(given.get(name, control.default)) for name, control in known.items()}

    @torch.no_grad()
    def translate(self, images: Tensor, **controls: float) -> Tensor:
        """Translate images, without gradients and in evaluation mode (which is restored afterwards).

        Args:
            images: (B, 3, H, W) or (3, H, W) RGB, floating point in [0, 1], any device.
            **controls: see `controls`.

        Returns:
            The shape, device and type of `images`, clamped to [0, 1].

        Raises:
            TypeError: if `images` is not a floating-point tensor, or a control is not a number.
            ValueError: if the shape, the range or a control is wrong.
        """
        chosen = self.check_controls(**controls)
        check_images(images)
        own = next(self.parameters(), images)
        batch = images if images.ndim == 4 else images.unsqueeze(0)
        batch = batch.to(own.device, own.dtype).clamp(0.0, 1.0)  # (B, 3, H, W)
        with _evaluating(self):
            result = self.render(batch, **chosen).clamp(0.0, 1.0)
        result = result.to(images.device, images.dtype)
        return result if images.ndim == 4 else result.squeeze(0)


class ImageToImage(Translator):
    """A network that maps an image to an image of the same size.

    Args:
        generator: (B, 3, H, W) RGB in [0, 1] to the same shape; values outside [0, 1] are clamped.
    """

    controls: ClassVar[tuple[Control, ...]] = (
        Control("alpha", 0.0, 1.0, 1.0, "strength: pixel mix of content (0) and stylized image (1)"),
    )

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, images: Tensor) -> Tensor:
        """Return the generator's output, unclamped and with its graph: for training."""
        output: Tensor = self.generator(images)
        return output

    def render(self, images: Tensor, **controls: float) -> Tensor:
        """Return the mix of the images and the generator's clamped output; (B, 3, H, W) to the same shape."""
        return torch.lerp(images, self.generator(images).clamp(0.0, 1.0), controls["alpha"])


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
