"""What is evaluated: images with what they were made from, and each network's view of them, computed once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from stylebench.data.world import World
from stylebench.metrics.extractors.base import Extractor

ROLES = ("image", "content", "style", "target", "alternatives")  # the fields that hold pictures
_SETS = ("target", "alternatives")  # those that hold several an image


@dataclass(frozen=True)
class EvaluationBatch:
    """B images under evaluation, with what is known of them; pictures are uint8 RGB as they were saved.

    Attributes:
        image: (B, 3, H, W) uint8, what a method made.
        index: (B,) int64, place of each image in its set; one that comes twice counts once.
        content: (B, 3, H, W) uint8, what the images were made from.
        style: (B, 3, h, w) uint8, or (1, 3, h, w) where all share one: the style that was asked for.
        target: (B, K, 3, H, W) uint8, the set of right answers, K >= 1; a pair distance is taken to the nearest.
        alternatives: (B, K, 3, H, W) uint8, K >= 2 results for one content, by other latents or references.
        style_id: names of the styles, one an image.
        content_id: names of the contents, one an image.
        styles: how many styles the whole evaluation asks for, of which this batch may show a few.
        world: the rendered world that knows the exact answers to these styles and contents.
    """

    image: Tensor
    index: Tensor
    content: Tensor | None = None
    style: Tensor | None = None
    target: Tensor | None = None
    alternatives: Tensor | None = None
    style_id: Sequence[str] | None = None
    content_id: Sequence[str] | None = None
    world: World | None = None
    styles: int = 1

    def check(self) -> None:
        """Check that the pictures are what every metric expects.

        Raises:
            TypeError: if a picture is not uint8.
            ValueError: if a shape or a count does not fit.
        """
        count = len(self.image)
        for role in ROLES:
            pictures = getattr(self, role)
            if pictures is not None:
                _check_pictures(role, pictures, 2 if role in _SETS else 1, count)
        if self.index.shape != (count,):
            raise ValueError(f"expected an index for each of {count} images, got shape {tuple(self.index.shape)}")
        for name in ("style_id", "content_id"):
            names = getattr(self, name)
            if names is not None and len(names) != count:
                raise ValueError(f"expected a {name} for each of {count} images, got {len(names)}")


def _check_pictures(role: str, pictures: Tensor, leading: int, count: int) -> None:
    if pictures.dtype != torch.uint8:
        raise TypeError(
            f"expected uint8 pictures as {role}, got {pictures.dtype}; round images in [0, 1] with "
            "functional.pixels.quantize first"
        )
    fits = pictures.ndim == leading + 3 and pictures.shape[leading] == 3 and min(pictures.shape) > 0
    if not fits or len(pictures) not in ((1, count) if role == "style" else (count,)):
        wanted = "(B, K, 3, H, W)" if leading == 2 else "(B, 3, H, W)"
        raise ValueError(f"expected {wanted} pictures as {role} with B = {count}, got shape {tuple(pictures.shape)}")


def by_image(tensor: Tensor, count: int) -> Tensor:
    """Split what lies one behind the other for each of `count` images, (count * K, ...), into (count, K, ...)."""
    return tensor.reshape(count, -1, *tensor.shape[1:])


class Views:
    """How networks see a batch: feature maps and features, each computed when first asked for, and only then.

    Args:
        batch: the batch.
        extractors: the networks, by the name under which metrics ask for them.
        layers: by extractor and role, the taps that metrics will ask for, so that a pass stops at the deepest; all taps
            where nothing is said.
    """

    def __init__(
        self,
        batch: EvaluationBatch,
        extractors: Mapping[str, Extractor],
        layers: Mapping[tuple[str, str], Sequence[str]] | None = None,
    ) -> None:
        self.batch = batch
        self._extractors = extractors
        self._layers = layers or {}
        self._maps: dict[tuple[str, str], dict[str, Tensor]] = {}
        self._features: dict[tuple[str, str], Tensor] = {}

    def pictures(self, role: str) -> Tensor:
        """Return the pictures of a role, (B, 3, H, W); right answers one behind the other, (B K, 3, H, W).

        Raises:
            ValueError: if the batch does not hold the role.
        """
        pictures: Tensor | None = getattr(self.batch, role)
        if pictures is None:
            raise ValueError(f"this batch has no {role}; there are {', '.join(self.roles())}")
        return pictures.flatten(0, 1) if role in _SETS else pictures  # (B * K, 3, H, W) or (B, 3, H, W)

    def others(self, role: str) -> Tensor:
        """Return what images are compared with, (B or 1, K, 3, h, w): K right answers as target, else one picture."""
        pictures = self.pictures(role)
        return by_image(pictures, len(self.batch.image)) if role in _SETS else pictures[:, None]

    def roles(self) -> list[str]:
        """List the roles that the batch holds."""
        return [role for role in ROLES if getattr(self.batch, role) is not None]

    def maps(self, extractor: str, role: str) -> dict[str, Tensor]:
        """Return an extractor's feature maps of a role, (B, C, h, w) float32 by tap; see `Extractor.maps`."""
        key = (extractor, role)
        if key not in self._maps:
            self._maps[key] = self._extractors[extractor].maps(self.pictures(role), self._layers.get(key))
        return self._maps[key]

    def features(self, extractor: str, role: str) -> Tensor:
        """Return an extractor's features of a role, (B, d) float32; taken from the maps where these are made anyway."""
        key = (extractor, role)
        if key not in self._features:
            network = self._extractors[extractor]
            if network.taps:
                self._features[key] = network.pool(self.maps(extractor, role))
            else:
                self._features[key] = network(self.pictures(role))
        return self._features[key]
