"""Inference: what is used after training, as a plain torch module that declares how it is used.

Commands, sample grids, health, evaluation, exports and `stylebench.load` read the declarations, `controls` and
`inputs`; none asks which method it is. There are two kinds: `Translator` (pictures to pictures) and `Classifier`
(pictures to logits).
"""

import contextlib
import math
from collections.abc import Collection, Iterator, Sequence
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from stylebench.checks import UnknownControlError, closest
from stylebench.nn.domain_norms import SOURCE
from stylebench.nn.normalization import CURRENT, has_batch_norm, using

STATISTICS = "statistics"  # the control that chooses whose statistics normalize
STATISTICS_SHARE = "statistics_share"  # the one that mixes them with those of the training
RANGE_TOLERANCE = 1e-3  # a quarter of a gray level: what antialiased resizing in float32 may overshoot by


class Control(NamedTuple):
    """A number that steers a model at run time.

    Attributes:
        name: keyword of the call.
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
    """A word out of a few that steers a model at run time.

    Attributes:
        name: keyword of the call.
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


class Picture(NamedTuple):
    """A kind of picture that a model takes.

    Attributes:
        name: keyword of the call.
        help: one line: what it is for.
        required: whether the model works only with it.
        many: whether several may be given as a list, with a share of each as `<name>_weights`.
        regions: whether masks may say where each of several goes.
        needs: controls that have to be given with it, since no default of them suits every picture.
        replaces: controls that change nothing beside it.
    """

    name: str
    help: str
    required: bool = True
    many: bool = False
    regions: bool = False
    needs: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()

    @property
    def span(self) -> str:
        """How many may be given, in words."""
        count = f"pictures, {self.name}_weights a share of each" if self.many else "a picture"
        return count if self.required else f"{count}; none by default"

    @property
    def keywords(self) -> tuple[str, ...]:
        """The keywords of the call that concern it."""
        return (self.name, *([f"{self.name}_weights"] if self.many else []), *(["masks"] if self.regions else []))


CONTENT = Picture("content", "the picture that is translated")


class Inference(nn.Module):
    """Base of what is used after training.

    Attributes:
        controls: what steers it; of the class, or of the object where its settings give the defaults.
        inputs: the pictures that it takes.
        command: of the command line that uses it.
        own_statistics: those that its batch norms normalize by where nobody chooses: see `nn.normalization.using`.
    """

    controls: Sequence[Control | Choice] = ()
    inputs: Sequence[Picture] = (CONTENT,)
    command: ClassVar[str] = "stylize"
    own_statistics: str = SOURCE

    @property
    def device(self) -> torch.device:
        """Where its weights are; the CPU if it has none."""
        return next(self.parameters(), next(self.buffers(), torch.empty(0))).device

    def takes(self, name: str) -> bool:
        """Tell whether pictures of this name are among its inputs."""
        return any(picture.name == name for picture in self.inputs)

    def check_controls(self, **given: Any) -> dict[str, Any]:
        """Return a value for every control: the given one, else its default.

        Raises:
            TypeError: if a value is not a number.
            UnknownControlError: if there is no control of a name; the message lists what there is.
            ValueError: if a value is out of range.
        """
        known = {control.name: control for control in self.controls}
        for name in given:
            if name not in known:
                listed = ", ".join(f"{control.name} ({control.span})" for control in self.controls) or "none"
                pictures = ", ".join(word for picture in self.inputs for word in picture.keywords)
                raise UnknownControlError(
                    name,
                    f"{type(self).__name__} has no control {name!r}{closest(name, known)}; its controls: {listed}; its "
                    f"pictures: {pictures}",
                )
        return {name: control.check(given.get(name, control.default)) for name, control in known.items()}

    def check_pictures(self, pictures: Collection[str], controls: Collection[str]) -> list[str]:
        """Return what is to say of pictures, by the names of those given, beside the controls that are given.

        Raises:
            ValueError: if a picture is given without a control that it needs.
        """
        notes = []
        for picture in (each for each in self.inputs if each.name in pictures):
            for control in (each for each in self.controls if each.name in {*picture.needs} - {*controls}):
                raise ValueError(
                    f"{picture.name} needs {control.name} ({control.help}), and none was given; its values: "
                    f"{control.span}"
                )
            idle = [name for name in picture.replaces if name in controls]
            notes += [f"{name} changes nothing beside {picture.name}" for name in idle]
        return notes

    @contextlib.contextmanager
    def at_work(self, statistics: str | None = None, share: float = 1.0) -> Iterator[None]:
        """Put it into evaluation mode for a `with` block, its batch norms on chosen statistics.

        Args:
            statistics: see `nn.normalization.using`; None for its own.
            share: of them in a mixture with the running ones, in [0, 1].
        """
        chosen = self.own_statistics if statistics is None else statistics
        with evaluating(self), using(self, chosen, share) if has_batch_norm(self) else contextlib.nullcontext():
            yield

    @contextlib.contextmanager
    def on_current_statistics(self) -> Iterator[None]:
        """Have it work for a `with` block by what stands in its batch norms, for who replaces that meanwhile."""
        before, self.own_statistics = self.own_statistics, CURRENT
        try:
            yield
        finally:
            self.own_statistics = before

    def own(self, images: Tensor) -> Tensor:
        """Return checked images as a batch on the model's device and of its type: (B, 3, H, W) in [0, 1].

        Raises:
            TypeError, ValueError: see `check_images`.
        """
        check_images(images)
        like = next(self.parameters(), next(self.buffers(), images))
        batch = images if images.ndim == 4 else images.unsqueeze(0)
        return batch.to(like.device, like.dtype).clamp(0.0, 1.0)  # (B, 3, H, W)


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
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode and give each of its parts back the mode it had."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
