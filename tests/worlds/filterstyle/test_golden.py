"""Pictures stay what they are: thumbnails of a dozen of them, within a level, on any machine.

After a change that is meant, raise VERSION and run this file as a script: it rewrites golden.json.
"""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from stylebench.worlds.filterstyle import VERSION, apply_style, parse_style

GOLDEN = Path(__file__).with_name("golden.json")
NAMES = (
    "palette_map", "kuwahara", "xdog", "halftone", "hatching", "posterize_edges", "watercolor", "pixel_art",
    "prior-0@0.5", "val-3@1.5", "hidden-4", "prior-6",
)  # fmt: skip


def picture() -> Tensor:
    """Return a (1, 3, 64, 48) uint8 picture of whole-number arithmetic: slopes, a square, a disc, fine stripes."""
    rows, columns = torch.meshgrid(torch.arange(64), torch.arange(48), indexing="ij")
    image = torch.stack((40 + 2 * rows, 200 - 3 * columns, 60 + rows + 2 * columns))
    image[:, 8:28, 6:26] = torch.tensor((220, 60, 50))[:, None, None]
    disc = (rows - 44) ** 2 + (columns - 30) ** 2 < 170
    image[:, disc] = torch.tensor((40, 70, 170))[:, None]
    image[:, 30:40] += 24 * (columns[30:40] // 2 % 2)
    return image.to(torch.uint8)[None]


def thumbnail(image: Tensor) -> list[int]:
    """Reduce to 4 x 4 areas: rounded mean of each channel, and of the steps between neighboring pixels."""
    levels = image.double()
    steps = (levels[..., 1:, 1:] - levels[..., :-1, 1:]).abs() + (levels[..., 1:, 1:] - levels[..., 1:, :-1]).abs()
    pools = [torch.nn.functional.adaptive_avg_pool2d(part, 4) for part in (levels, steps.mean(1, keepdim=True))]
    return [round(value) for value in torch.cat(pools, 1).flatten().tolist()]


def thumbnails() -> dict[str, list[int]]:
    return {name: thumbnail(apply_style(picture(), *as_arguments(name))) for name in NAMES}


def as_arguments(name: str) -> tuple[object, ...]:
    style, strength = parse_style(name)
    return style, [5], strength


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_those_of_this_version(name: str) -> None:
    golden = json.loads(GOLDEN.read_text())
    assert golden["version"] == VERSION
    found = torch.tensor(thumbnail(apply_style(picture(), *as_arguments(name))))
    assert (found - torch.tensor(golden["thumbnails"][name])).abs().max() <= 1


if __name__ == "__main__":
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(values)}" for name, values in thumbnails().items())
    GOLDEN.write_text(f'{{"version": {VERSION}, "thumbnails": {{\n{lines}\n}}}}\n')
