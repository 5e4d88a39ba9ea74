"""Sixteen renders as they were: what changes them must raise VERSION.

Run this file as a script to rewrite the picture, after looking at it.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stylebench.worlds.procstyle import VERSION, draw_scenes, parse_style, render

GOLDEN = Path(__file__).with_name("golden.png")
STYLES = [
    "photo", "flat", "ink_hatch", "halftone", "oil_noise", "watercolor", "pixel", "neon_outline", "chalk",
    "ink_hatch@1.5", "chalk@0.5", "prior-0", "prior-5", "prior-8", "val-1", "hidden-2",
]  # fmt: skip
SIDE, COLUMNS = 32, 4


def sheet() -> NDArray[np.uint8]:
    """Return the renders side by side, (128, 128, 3)."""
    scenes = draw_scenes([f"golden-{number}" for number in range(len(STYLES))])
    images = render(scenes, [parse_style(name) for name in STYLES], range(len(STYLES)), SIDE).numpy()
    rows = images.reshape(-1, COLUMNS, 3, SIDE, SIDE).transpose(0, 3, 1, 4, 2)  # (R, H, C, W, 3)
    return np.ascontiguousarray(rows.reshape(-1, COLUMNS * SIDE, 3))


def test_renders_are_as_they_were() -> None:
    with Image.open(GOLDEN) as picture:
        assert picture.info["version"] == str(VERSION), "VERSION rose: look at the renders and write golden.png again"
        golden = np.asarray(picture)
    difference = np.abs(sheet().astype(int) - golden.astype(int))
    changed = [
        name
        for number, name in enumerate(STYLES)
        if difference[number // COLUMNS * SIDE :, number % COLUMNS * SIDE :][:SIDE, :SIDE].max() > 1
    ]
    assert not changed, "these renders changed: raise VERSION and run this file as a script"
    assert GOLDEN.stat().st_size < 50_000


if __name__ == "__main__":
    from PIL.PngImagePlugin import PngInfo

    note = PngInfo()
    note.add_text("version", str(VERSION))
    Image.fromarray(sheet()).save(GOLDEN, optimize=True, pnginfo=note)
