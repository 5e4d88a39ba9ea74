"""Translators: what evaluation, sample grids, `stylize`, exports and `stylebench.load` see of a trained model.

Plain torch modules with one inference call, `translate(images, style=..., **controls)`. Controls and the pictures that
it takes are declared as data, so that every consumer can list and check them. One that is shown its style derives from
`StyleTranslator` (`style.py`).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any, ClassVar

import torch
from torch import Tensor

from stylebench.inference.base import STATISTICS, STATISTICS_SHARE, Inference, check_images

Watch = Callable[[Any], None]


class Encoded:
    """What a translator keeps of a picture, so that many contents need it only once."""


@dataclass(frozen=True)
class Guides:
    """Pictures that steer a translation, beside the controls; checked.

    Attributes:
        pictures: by the name of the input, (1 or B, 3, h, w) in [0, 1] of any size each, or `Encoded`.
        weights: a share of each of several, with sum 1: of the input of which many may be given.
        masks: (1 or B, K, H, W) 0 or 1: where each of these K goes; None for everywhere.
        watch: called at every evaluation of one that optimizes; None for nobody.
    """

    pictures: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    weights: tuple[float, ...] = ()
    masks: Tensor | None = None
    watch: Watch | None = None

    @property
    def styles(self) -> tuple[Any, ...]:
        """The pictures of styles; none where there is no such input."""
        return self.pictures.get("style", ())

    def with_styles(self, styles: Sequence[Any]) -> "Guides":
        """Return the same with other pictures of styles."""
        return replace(self, pictures={**self.pictures, "style": tuple(styles)})


class Translator(Inference):
    """Base of all translators: checks, evaluation mode, shapes and ranges. Subclasses define `render`.

    Attributes:
        default_px: longer side that larger pictures are shrunk to where nobody says; None for their own size.
        canvas_px: side of a picture that is made without a content where nobody says.
    """

    default_px: ClassVar[int | None] = None
    canvas_px: ClassVar[int] = 256

    def result_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the result for a picture of this size; here the same."""
        return height, width

    def render(self, images: Tensor, guides: Guides, **controls: Any) -> Tensor:
        """Return the translated images; called without gradients, in evaluation mode, with every control given.

        Args:
            images: (B, 3, H, W) RGB in [0, 1], on the translator's device.
            guides: pictures of the other inputs.
            **controls: a value for each of `self.controls`.

        Returns:
            (B, 3, *result_size(H, W)) RGB; `translate` clamps it.
        """
        raise NotImplementedError(f"{type(self).__name__} does not define render()")

    def check_guides(self, images: Tensor, given: Mapping[str, Any]) -> Guides:
        """Return the pictures of the declared inputs, checked and moved to the images' device and type.

        Args:
            images: (B, 3, H, W), what will be translated.
            given: by keyword; None counts as not given.

        Raises:
            TypeError: if something is not a tensor of floating-point pictures.
            ValueError: if a picture that is required is missing, or shapes, ranges or counts do not fit.
        """
        found, weights, masks = dict[str, tuple[Any, ...]](), tuple[float, ...](), None
        for picture in self.inputs:
            parts = given.get(picture.name)
            if picture.name == "content":
                continue
            if parts is None:
                if picture.required:
                    raise ValueError(
                        f"{type(self).__name__} needs a picture of the {picture.name}, and none was given; name one "
                        f"({picture.name}=<picture>)"
                    )
                continue
            listed = tuple(parts) if isinstance(parts, list | tuple) else (parts,)
            if not listed:
                raise ValueError(f"the list of {picture.name} pictures is empty; give at least one picture")
            if len(listed) > 1 and not picture.many:
                raise ValueError(f"{type(self).__name__} takes one {picture.name} picture, got {len(listed)}")
            found[picture.name] = tuple(_placed(part, picture.name, images) for part in listed)
            if picture.many:
                shares, regions = given.get(f"{picture.name}_weights"), given.get("masks")
                if shares is not None and regions is not None:
                    raise ValueError(
                        f"give either {picture.name}_weights (a mix) or masks (one for each region), not both"
                    )
                weights = _shares(shares, len(listed), picture.name)
                masks = _regions(regions, len(listed), picture.name, images)
        return Guides(found, weights, masks)

    @torch.no_grad()
    def translate(self, images: Tensor, *, watch: Watch | None = None, **given: Any) -> Tensor:
        """Translate images, without gradients and in evaluation mode (which is restored afterwards).

        Args:
            images: (B, 3, H, W) or (3, H, W) RGB, floating point in [0, 1], any device; the size alone counts where the
                translator takes no content.
            watch: for a translator that optimizes: called with an `optimization.gatys.Progress` at every evaluation.
            **given: a value for any of `controls`, and the pictures of `inputs` beside the content. A `style`, where it
                is declared, is a picture (3, h, w) or (1 or B, 3, h, w), or a list of them, of any sizes;
                `style_weights` a share of each, >= 0; `masks` (K, H, W) or (1 or B, K, H, W), 0 or 1: where each of K
                styles goes.

        Returns:
            The shape (with `result_size`), device and type of `images`, clamped to [0, 1].

        Raises:
            TypeError: if `images` is not a floating-point tensor, or a control is not a number.
            ValueError: if a shape, a range, a control or a picture is wrong.
        """
        words = {word for picture in self.inputs for word in picture.keywords if picture.name != "content"}
        pictures = {word: given.pop(word) for word in words & set(given)}
        self.check_pictures([word for word, shown in pictures.items() if shown is not None], given)
        chosen = self.check_controls(**given)
        batch = self.own(images)
        guides = replace(self.check_guides(batch, pictures), watch=watch)
        with self.at_work(chosen.pop(STATISTICS, None), chosen.pop(STATISTICS_SHARE, 1.0)):
            result = self.render(batch, guides, **chosen).clamp(0.0, 1.0)
        result = result.to(images.device, images.dtype)
        return result if images.ndim == 4 else result.squeeze(0)


class OptimizingTranslator(Translator):
    """A translator that optimizes each picture: it takes minutes instead of a pass, and shows how far it is.

    It needs no training, and hands `guides.watch` an `optimization.gatys.Progress` at every evaluation.
    """


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
        (B, 3, *result_size(H, W)) images in [0, 1].
    """
    taken: dict[str, Any] = {
        picture.name: pictures[picture.name] for picture in model.inputs if picture.name in pictures
    }
    listed = {name: values for name, values in request.items() if isinstance(values, list)}
    if not listed:
        return model.translate(images, **taken, **request)
    rows = list(zip(*listed.values(), strict=True))
    results, places = [], []
    for row in dict.fromkeys(rows):  # images with one request together
        chosen = [place for place, own in enumerate(rows) if own == row]
        beside: dict[str, Any] = {
            name: shown[chosen] if len(shown) == len(images) else shown for name, shown in taken.items()
        }
        controls = {**request, **dict(zip(listed, row, strict=True))}
        results.append(model.translate(images[chosen], **beside, **controls))
        places += chosen
    return torch.cat(results)[torch.tensor(places, device=images.device).argsort()]


def _placed(picture: Any, name: str, images: Tensor) -> Any:
    """Return a picture as (1 or B, 3, h, w) on the images' device and of their type."""
    if isinstance(picture, Encoded):
        return picture
    try:
        check_images(picture)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    pictures = picture if picture.ndim == 4 else picture.unsqueeze(0)
    if len(pictures) not in (1, len(images)):
        raise ValueError(
            f"expected one {name} picture, or one for each of {len(images)} images, got {len(pictures)}; to mix "
            f"several {name}s give a list of pictures"
        )
    return pictures.to(images.device, images.dtype).clamp(0.0, 1.0)  # (1 or B, 3, h, w)


def _shares(weights: Any, count: int, name: str) -> tuple[float, ...]:
    if weights is None:
        return (1 / count,) * count
    given = weights.tolist() if isinstance(weights, Tensor) else weights
    given = list(given) if isinstance(given, list | tuple) else [given]
    for weight in given:
        if isinstance(weight, bool) or not isinstance(weight, Real):
            raise TypeError(f"{name}_weights are numbers, got {type(weight).__name__} {weight!r}")
        if not 0 <= float(weight) < math.inf:
            raise ValueError(f"{name}_weights are finite and at least 0, got {weight}")
    if len(given) != count:
        raise ValueError(f"expected a weight for each of {count} {name}s, got {len(given)}; give as many as {name}s")
    total = sum(float(weight) for weight in given)
    if not total > 0:
        raise ValueError(f"all {name}_weights are 0; give at least one {name} a share")
    return tuple(float(weight) / total for weight in given)


def _regions(masks: Any, count: int, name: str, images: Tensor) -> Tensor | None:
    if masks is None:
        return None
    if not isinstance(masks, Tensor):
        raise TypeError(f"masks are a tensor (K, H, W) of 0 and 1, got {type(masks).__name__}")
    regions = masks if masks.ndim == 4 else masks.unsqueeze(0)
    wanted = (count, *images.shape[-2:])
    if regions.ndim != 4 or tuple(regions.shape[1:]) != wanted or len(regions) not in (1, len(images)):
        raise ValueError(
            f"expected masks of shape {wanted} (one mask for each {name}, of the image's size), got "
            f"{tuple(masks.shape)}; resize the masks to the image, and give as many as {name}s"
        )
    regions = regions.to(images.device, images.dtype)
    if not bool(((regions == 0) | (regions == 1)).all()):
        raise ValueError("masks hold 0 (outside) and 1 (inside) only, found other values; threshold them first")
    if bool((regions.sum(1) > 1).any()):
        raise ValueError(f"masks overlap: a pixel can have one {name} only; make the regions disjoint")
    if not bool(regions.flatten(2).any(2).all()):
        raise ValueError(f"a mask is empty: its {name} would go nowhere; leave out that {name} and its mask")
    return regions
