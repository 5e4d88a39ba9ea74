"""FilterStyle as a store: any folder of photographs, through parametric artistic filters."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stylebench.checks import UsageError, check_whole
from stylebench.data.domain import Domain, Pixels
from stylebench.data.folders import Folders
from stylebench.data.splits import SPLITS, Layout, unit_hash
from stylebench.data.stores import Part
from stylebench.data.world import SOURCE, Anatomy, Contents, World, content_splits
from stylebench.functional.pixels import round_levels
from stylebench.worlds.filterstyle import (
    FILTERS,
    VERSION,
    apply_style,
    benchmark,
    parse_style,
    readout_contours,
    readout_regions,
)
from stylebench.worlds.filterstyle.rendering import STRONGEST


class FilterStyle(World):
    """Open photographs in the style of a filter as domains; classes and split folders of the photographs are kept.

    Photographs are cut to their central square and brought to one size before they are filtered.

    Args:
        content: folder of photographs; see `Folders`.
        size_px: height and width of the pictures, >= 16.
        packed: see `World`.
        photographs: reads the folder.

    Raises:
        UsageError: if no folder is named.
        ValueError: if a setting is out of its range.
    """

    name = "filterstyle"
    version = VERSION
    components = ("palette", "texture", "stroke", "quantization")
    named = FILTERS

    def __init__(self, content: str | None, size_px: int, packed: bool, photographs: Folders) -> None:
        if not content:
            raise UsageError(
                "dataset.content is not set; give it on the command line: dataset.content=... (a folder of photographs)"
            )
        super().__init__(size_px, packed, photographs.cache)
        check_whole("size_px", size_px, 16)
        self.content = content
        self._folders = photographs

    @cached_property
    def photographs(self) -> Domain:
        """The folder of photographs."""
        return self._folders.open(self.content)

    def contents(self, part: Part | None) -> Contents:
        """Return the photographs of a part; a split's photographs are dealt out to the parts in hash order."""
        domain = self.photographs
        ids = {}
        for split in SPLITS:
            members = [domain.ids[i] for i in domain.split(split)]
            if part is not None and not (part.shared_evaluation and split != "train"):
                members = sorted(members, key=unit_hash)[part.index :: part.count]
            ids[split] = members
        ordered, splits = content_splits(ids)
        labels = None if domain.labels is None else domain.labels[[self._places[id_] for id_ in ordered]]
        return Contents(ordered, Layout(splits, domain.classes, labels))

    def open(self, value: str, part: Part | None = None) -> Domain:
        """Open a domain, see `World.open`; the folder of photographs stands for the photographs as they are."""
        return super().open(SOURCE if str(value) == str(self.content) else value, part)

    def shared_out(self, part: Part | None) -> str:
        """Say which photographs are filtered, and among how many domains those for training are dealt out."""
        among = f", dealt out to {part.count} domains" if part is not None else ""
        return f" ({len(self.photographs)} photographs of {self.photographs.path}{among})"

    def check_style(self, style: str) -> None:
        """Raise ValueError, with a list of what there is, if a style's name says nothing."""
        parse_style(style)

    def draw(
        self,
        ids: Sequence[str],
        styles: Sequence[str],
        nuisance: Sequence[int],
        strength: float,
        components: Sequence[str],
    ) -> Tensor:
        """Filter photographs; see `World.render`. A filter has one strength for all that it does, 1.5 at most.

        Raises:
            ValueError: if only some components are asked for.
        """
        if set(components) != set(self.components):
            raise ValueError("a filter's components cannot be set apart; leave components out")
        parsed = [parse_style(style) for style in styles]
        return apply_style(
            self.pictures(ids),
            [style for style, _ in parsed],
            nuisance,
            [min(own * strength, STRONGEST) for _, own in parsed],
        )

    def pictures(self, ids: Sequence[str]) -> Tensor:
        """Return the photographs themselves, (B, 3, size_px, size_px) uint8."""
        images = self.photographs.views([self._places[id_] for id_ in ids])
        return torch.cat([_square(image, self.size_px) for image in images])

    def anatomy(self, ids: Sequence[str]) -> Anatomy:
        """Return each photograph's tones as regions, and its strong edges as outlines."""
        pictures = self.pictures(ids)
        nothing = torch.zeros(len(ids), 0, self.size_px, self.size_px, dtype=torch.bool)
        return Anatomy(readout_regions(pictures), readout_contours(pictures), nothing, None)

    def benchmark(self, seconds: float) -> float:
        """Return pictures a second over all cores of this machine, at this world's size."""
        return benchmark(self.size_px, seconds)

    def fingerprint(self) -> Any:
        """Return the digest of the photographs."""
        return self.photographs.digest

    @cached_property
    def _places(self) -> dict[str, int]:
        return {id_: place for place, id_ in enumerate(self.photographs.ids)}


def _square(image: Pixels, size_px: int) -> Tensor:
    """Cut the central square of (H, W, 3) and resize it, antialiased, to (1, 3, size_px, size_px) uint8."""
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    square = torch.from_numpy(image[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None]
    if side == size_px:
        return square
    resized = F.interpolate(square.float(), size=(size_px, size_px), mode="bicubic", antialias=True)
    return round_levels(resized)
