"""Worlds: stores that render every content in every style, so that the exact answer is known.

A world renders `content id x style x nuisance`. The identity of a style (its palette, texture, strokes ...) can be seen
in a picture of it; the nuisance (phases, noise fields, wobble) cannot, so the truth is the *set* of renders over the
nuisance. Seeds of nuisance follow from what they are for: the pictures in domains, the truth and the calibration of
read-outs never share one.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
from torch import Tensor

from stylebench.checks import check_choice, check_switch
from stylebench.data.domain import Domain, Pixels
from stylebench.data.renders import pack_renders
from stylebench.data.splits import SPLITS, Indices, Layout
from stylebench.data.stores import Part
from stylebench.files import json_digest

SOURCE = "photo"  # the style that contents come in, of every world
PRIOR = "prior"  # the domain in which every picture has a style of its own
POOLS = {"train": "prior", "val": "val", "test": "hidden"}  # split -> pool of styles that no other split shows
HIDDEN = f"{POOLS['test']}-"  # how the names of test styles begin
HIDDEN_STYLES = 128  # of each world, the first so many: what the shipped encoders saw keeps its distance from them
PURPOSES = ("reference", "truth", "calibration")
TRUTH_DRAWS = 16  # nuisance draws that stand for the set of right answers


class Anatomy(NamedTuple):
    """What read-outs need to know of some contents, from their exact description, not from a render.

    Attributes:
        regions: (B, R, H, W) bool, areas of one material or one tone; a style gives each a color and a texture.
        outline: (B, H, W) float32, distance to the nearest outline in pixels, negative inside the thing it belongs to.
        objects: (B, N, H, W) bool, visible masks of things that may stand a little off; N is 0 where there are none.
        light: (B, H, W) float32, cosine between surface and light, or None in a world without shading.
    """

    regions: Tensor
    outline: Tensor
    objects: Tensor
    light: Tensor | None


class Contents(NamedTuple):
    """The contents of a domain.

    Attributes:
        ids: stable, unique and sorted; an id decides its content.
        layout: splits and classes.
    """

    ids: list[str]
    layout: Layout


class World(ABC):
    """A store whose pictures are rendered.

    Args:
        size_px: height and width of every picture.
        packed: render each domain once into the cache, where training reads it at memory speed; otherwise pictures are
            rendered whenever they are asked for.
        cache: folder of the cache.

    Attributes:
        name: the world's name.
        version: raised when renders change.
        components: what a style is made of here, for read-outs.
        named: the styles that have names.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    components: ClassVar[tuple[str, ...]]
    named: ClassVar[tuple[str, ...]]

    def __init__(self, size_px: int, packed: bool, cache: Path) -> None:
        check_switch("packed", packed)
        self.size_px = size_px
        self.packed = packed
        self.cache = cache

    @abstractmethod
    def contents(self, part: Part | None) -> Contents:
        """Return the contents of a part."""

    @abstractmethod
    def check_style(self, style: str) -> None:
        """Raise ValueError, with a list of what there is, if a style's name says nothing to this world."""

    @abstractmethod
    def draw(
        self,
        ids: Sequence[str],
        styles: Sequence[str],
        nuisance: Sequence[int],
        strength: float,
        components: Sequence[str],
    ) -> Tensor:
        """Render contents in styles of some strength; see `render`."""

    @abstractmethod
    def anatomy(self, ids: Sequence[str]) -> Anatomy:
        """Return what read-outs need to know of some contents."""

    @abstractmethod
    def fingerprint(self) -> object:
        """Return what decides the renders besides ids, styles, nuisance and version, as plain values."""

    @abstractmethod
    def benchmark(self, seconds: float) -> float:
        """Return how many pictures a second all cores of this machine render, measured for about `seconds`."""

    def shared_out(self, part: Part | None) -> str:
        """Return what a message should say of contents that are dealt out to several domains; "" if none are."""
        return ""

    def render(
        self,
        ids: Sequence[str],
        styles: str | Sequence[str],
        *,
        purpose: str = "truth",
        draw: int = 0,
        strength: float = 1.0,
        components: Sequence[str] | None = None,
    ) -> Tensor:
        """Render contents in styles.

        Args:
            ids: the contents, B of them.
            styles: a style for all, or one for each; see `check_style`.
            purpose: what the renders are for, one of `PURPOSES`; no two share nuisance.
            draw: which nuisance of that purpose, >= 0.
            strength: 0 gives the source, 1 the style, more overdoes it; in [0, 1.5].
            components: the components that the strength applies to, None = all; the others stay those of the source.

        Returns:
            (B, 3, size_px, size_px) uint8 RGB on the CPU.

        Raises:
            ValueError: for a style, a content or a purpose that there is not.
        """
        named = [styles] * len(ids) if isinstance(styles, str) else list(styles)
        nuisance = self.nuisance(ids, named, purpose, draw)
        return self.draw(ids, named, nuisance, strength, self.components if components is None else components)

    def nuisance(self, ids: Sequence[str], styles: Sequence[str], purpose: str, draw: int) -> list[int]:
        """Return the nuisance of each render; see `render`.

        Raises:
            ValueError: for a purpose that there is not.
        """
        check_choice("purpose", purpose, PURPOSES)
        return [
            _seed(self.name, self.version, style, id_, purpose, draw) for id_, style in zip(ids, styles, strict=True)
        ]

    def open(self, value: str, part: Part | None = None) -> Domain:
        """Open a domain: contents in one style, or each in a style of its own.

        Args:
            value: a style (`photo`, a named one, `prior-<n>`, `hidden-<n>`), at another strength (`<style>@0.5`), or
                `prior` for a style of its own in every picture; `<style>/<id>` is that single picture.
            part: the share of the contents, None = all: pictures of one id show one content in every domain.

        Returns:
            The domain.

        Raises:
            ValueError: if there is no such style, or no such picture.
        """
        contents, styles = self.look_up(value, part)
        style = str(value).partition("/")[0]
        digest = json_digest([self.name, self.version, self.fingerprint(), self.size_px, contents.ids, styles])
        renderer = Rendering(self, contents.ids, styles)
        pixels = (
            pack_renders(renderer, len(contents.ids), self.size_px, digest, self.cache) if self.packed else renderer
        )
        return Domain(
            name=style,
            path=f"{self.name}:{value}{self.shared_out(part)}",
            ids=contents.ids,
            shapes=np.full((len(contents.ids), 2), self.size_px, dtype=np.int64),
            pixels=pixels,
            digest=digest,
            layout=contents.layout,
            address=style,
        )

    def look_up(self, value: str, part: Part | None) -> tuple[Contents, list[str]]:
        """Return the contents that a domain shows, and the style of each; see `open`."""
        style, slash, chosen = str(value).partition("/")
        if style.partition("@")[0] != PRIOR:
            self.check_style(style)
        contents = self.contents(part)
        styles = self._styles(style, contents)
        if not slash:
            return contents, styles
        index = self._find(chosen, contents, style)
        labels = contents.layout.labels
        only = dict.fromkeys((*SPLITS, "all"), np.zeros(1, dtype=np.int64))
        layout = Layout(only, contents.layout.classes, None if labels is None else labels[[index]])
        return Contents([chosen], layout), [styles[index]]

    def _find(self, chosen: str, contents: Contents, style: str) -> int:
        """Return the place of a single picture.

        Raises:
            ValueError: if there is none of that id, or another domain of the task shows it.
        """
        if chosen in contents.ids:
            return contents.ids.index(chosen)
        train = [contents.ids[int(i)] for i in contents.layout.splits["train"][:3]]
        why = "; another domain of the task shows that content" if chosen in self.contents(None).ids else ""
        raise ValueError(
            f"no picture {chosen!r} in style {style}{why}; there are {len(contents.ids)}, such as {', '.join(train)}"
        )

    def _styles(self, style: str, contents: Contents) -> list[str]:
        """Return the style of each content; styles of the prior come from a pool of their split alone."""
        base, at, strength = style.partition("@")
        if base != PRIOR:
            return [style] * len(contents.ids)
        styles = [""] * len(contents.ids)
        for split in SPLITS:
            for number, index in enumerate(contents.layout.splits[split]):
                styles[int(index)] = f"{POOLS[split]}-{number}{at}{strength}"
        return styles


class Rendering:
    """Renders the pictures of a domain when they are asked for."""

    def __init__(self, world: World, ids: Sequence[str], styles: Sequence[str]) -> None:
        self._world = world
        self._ids = list(ids)
        self._styles = list(styles)

    def __call__(self, indices: Sequence[int]) -> list[Pixels]:
        """Return the pictures at `indices`, (size_px, size_px, 3) uint8 RGB each."""
        images = self._world.render(
            [self._ids[i] for i in indices], [self._styles[i] for i in indices], purpose="reference"
        )
        return list(images.permute(0, 2, 3, 1).numpy())  # (H, W, 3) each


def content_splits(ids: Mapping[str, Sequence[str]]) -> tuple[list[str], dict[str, Indices]]:
    """Sort the ids of all splits together; return them with the ascending positions of each split."""
    ordered = sorted({id_ for members in ids.values() for id_ in members})
    places = {id_: place for place, id_ in enumerate(ordered)}
    splits = {split: np.array(sorted(places[id_] for id_ in ids[split]), dtype=np.int64) for split in SPLITS}
    return ordered, {**splits, "all": np.arange(len(ordered), dtype=np.int64)}


def _seed(*parts: object) -> int:
    """Return a 62-bit seed for these parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8], "big") >> 2
