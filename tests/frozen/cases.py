"""What the comparison with the frozen commit runs: every method at tiny widths, on pictures drawn with integers.

Command lines are written in the names of the frozen commit, 77a0089; `renamed.py` translates them for the current code.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SPLITS = {"train": 6, "val": 3, "test": 3}
ROLES = ("content", "style", "target")
WIDTH_PX, HEIGHT_PX = 48, 40
PICTURE, STYLE = "data/content/test/00.bmp", "data/style/test/00.bmp"
BATCHES, EVALUATE_EVERY = 20, 10
FIXTURE_BATCHES, FIXTURE_EVALUATE_EVERY, FIXTURE_LONGER = 4, 4, 6

COMMON = [
    "dataset=folders", "dataset.num_workers=0", "dataset.size_px=32", "dataset.flip=true", "dataset.batch_size=2",
    "metrics=smoke", "metrics.num_images=4", "samples=2", "budget.validation_images=3", "logger.every_n_batches=2",
]  # fmt: skip
STYLE_DATA = ["dataset.content=data/content", "dataset.style=data/style"]
WORLD = [
    "dataset=procstyle", "dataset.store.size_px=32", "dataset.store.train_images=4", "dataset.store.val_images=3",
    "dataset.store.test_images=3", "dataset.store.packed=true", "metrics=track", "metrics.scenes=2",
    "metrics.truth_draws=2",
]  # fmt: skip
FEW = ["model.translator.evaluations=12", "model.snapshots=[4]", "metrics.num_images=2"]
FEWER = ["model.translator.evaluations=5", "model.snapshots=[2]", "budget.validation_images=1", "samples=1"]
GIVEN_STYLE = [f"style={STYLE}"]


class Case(NamedTuple):
    """How a method is run.

    Attributes:
        overrides: of every run.
        compared: of the comparison alone, where rendered worlds and rates that fall over the run have their turn.
        kept: of the runs that are kept in git: drawn pictures alone, and rates that let a run be made longer.
        stylize: of the `stylize` commands of its runs.
        untrained: whether `stylize` does without a run, too.
    """

    overrides: Sequence[str]
    compared: Sequence[str] = ()
    kept: Sequence[str] = ()
    stylize: Sequence[str] = ()
    untrained: bool = False


CASES = {
    "fast_transfer": Case(
        ["model.network.width=4", "model.style_size_px=32", *STYLE_DATA],
        compared=[*WORLD, "dataset.content=photo", "dataset.style=oil_noise/train-1-00000"],
        kept=["model.network.width=2", f"dataset.style={STYLE}"],
    ),
    "adain": Case(
        ["model.optimizer.lr=1e-3", *STYLE_DATA],
        compared=["encoder.adain_layer=relu3_1", "model.weight_reconstruction=0.1", "metrics=track"],
        kept=["encoder.adain_layer=relu2_1"],
        stylize=[*GIVEN_STYLE, "alpha=0.75"],
    ),
    "gatys": Case([*STYLE_DATA, *FEW], kept=FEWER, stylize=GIVEN_STYLE, untrained=True),
    "texture_synthesis": Case(
        [*STYLE_DATA, *FEW], ["model.translator.match_histogram=true"], FEWER, stylize=GIVEN_STYLE, untrained=True
    ),
    "pix2pix": Case(
        [
            "model.translator.generator.width=4", "model.discriminator.width=4",
            "model.discriminator.receptive_field_px=16",
        ],
        compared=WORLD,
        kept=[
            "dataset.input=data/content", "dataset.target=data/target", "model/schedule=constant",
            "model.translator.generator.levels=3",
        ],
        stylize=["noise_seed=3"],
    ),
    "super_resolution": Case(["dataset.target=data/content", "model.network.width=4"]),
    "cyclegan": Case(
        [
            "dataset.a=data/content", "dataset.b=data/target", "dataset.batch_size=1",
            "model.translator.generator_ab.width=4", "model.translator.generator_ab.blocks=1",
            "model.discriminator_a.width=4", "model.discriminator_a.receptive_field_px=16", "model.pool=3",
        ],
        kept=["model/schedule=constant", "model.translator.generator_ab.width=2"],
        stylize=["direction=b_to_a"],
    ),
    "stargan": Case(
        [
            "dataset.domains=[data/content,data/style,data/target]", "dataset.batch_size=4",
            "model.translator.generator.width=4", "model.translator.generator.blocks=1",
            "model.discriminator.width=4", "model.discriminator.layers=2",
        ],
        compared=[
            *WORLD, "metrics=smoke", "dataset.domains=[photo,ink_hatch,oil_noise]", f"budget.evaluate_every={BATCHES}",
        ],
        kept=["model/schedule=constant", "model.critic_batches=2"],
    ),
}  # fmt: skip


def merged(*parts: Sequence[str]) -> list[str]:
    """Return overrides of which later ones replace earlier ones of the same key, groups first."""
    found = {override.partition("=")[0]: override for part in parts for override in part}
    return sorted(found.values(), key=lambda override: "." in override.partition("=")[0])


def train_command(method: str, *, compared: bool) -> list[str]:
    """Return the training command of a method in the frozen commit's names; its run folder is `runs/<method>`."""
    case = CASES[method]
    batches, every = (BATCHES, EVALUATE_EVERY) if compared else (FIXTURE_BATCHES, FIXTURE_EVALUATE_EVERY)
    length = [f"budget.batches={batches}", f"budget.evaluate_every={batches if case.untrained else every}"]
    own = case.compared if compared else case.kept
    overrides = merged(COMMON, length, [f"checkpoint.every_n_batches={every}"], case.overrides, own)
    return ["train", f"model={method}", *overrides, f"run=runs/{method}"]


def resume_command(method: str, *more: str) -> list[str]:
    """Return the command that goes on with `resumed/<method>`, a copy of the run, in the words of its record."""
    return ["train", f"run=resumed/{method}", *more]


def evaluate_command(method: str, output: str, metrics: str | None = None) -> list[str]:
    """Return the command that measures the run of a method on its test split.

    Args:
        method: its name.
        output: the file of the values.
        metrics: the option of the metrics; None for that of the compared runs.
    """
    option = metrics or dict(word.split("=", 1) for word in merged(COMMON, CASES[method].compared))["metrics"]
    sizes = ["metrics.num_images=4", "metrics.scenes=2", "metrics.truth_draws=2"]
    return ["evaluate", f"metrics={option}", *sizes, f"run=runs/{method}", f"output={output}"]


def export_command(method: str) -> list[str]:
    """Return the command that exports the run of a method to `exports/<method>`."""
    return ["export", f"run=runs/{method}", f"output=exports/{method}"]


def stylize_command(method: str, source: str, output: str) -> list[str]:
    """Return the command that applies `source` (a run or an export) to the picture of the tests."""
    given = ["size_px=32"] if method == "texture_synthesis" else [f"input={PICTURE}"]
    return ["stylize", f"run={source}", *merged(given, CASES[method].stylize), f"output={output}"]


def untrained_command(method: str, output: str) -> list[str]:
    """Return the command that optimizes the picture of the tests without a run, on an image of 32 pixels."""
    given = ["size_px=32", *([] if method == "texture_synthesis" else [f"input={PICTURE}"])]
    return [
        "stylize", f"model={method}", "model.translator.evaluations=12", *given, *GIVEN_STYLE, f"output={output}",
    ]  # fmt: skip


def draw_data(folder: Path) -> None:
    """Write the pictures of the tests as `<role>/<split>/<number>.bmp`."""
    for name, content in pictures():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def pictures() -> Iterator[tuple[str, bytes]]:
    """Draw the pictures of the tests: yield their names and files, the same bytes on every machine.

    Contents are shaded discs on a slope, styles are woven stripes, and a target is its content in other colors.
    """
    for role in ROLES:
        numbers = count()
        for split, images in SPLITS.items():
            for place in range(images):
                yield f"{role}/{split}/{place:02d}.bmp", _bitmap(_draw(role, next(numbers)))


def _draw(role: str, number: int) -> NDArray[np.uint8]:
    """Return picture `number` of a role: (H, W, 3)."""
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX].astype(np.int64)
    k = 2 * number + 1
    if role == "style":
        stripes = [(x * (k + c) // 3 + y * (7 * k % 11 + c)) % 64 + (x ^ y) % (8 + c) * 16 for c in range(3)]
        return np.stack(stripes, axis=-1).clip(0, 255).astype(np.uint8)
    picture = np.stack([(x * (k % 5) + y * (k % 7) + 37 * k * (c + 1)) % 160 + 30 for c in range(3)], axis=-1)
    for disc in range(4):
        seed = 131 * k + 977 * disc
        distance = (y - seed % HEIGHT_PX) ** 2 + (x - seed * 7 % WIDTH_PX) ** 2
        color = np.array([seed * 3 % 256, seed * 5 % 256, seed * 11 % 256])
        inside = distance < (5 + seed % 9) ** 2
        picture[inside] = (color * (256 - distance[inside, None]) // 256).clip(0, 255)
    if role == "target":
        picture = 255 - picture[..., [1, 2, 0]] * 3 // 4
    return picture.clip(0, 255).astype(np.uint8)


def _bitmap(pixels: NDArray[np.uint8]) -> bytes:
    """Return (H, W, 3) pixels as an uncompressed bitmap file, which no version of an image library writes otherwise."""
    height, width = pixels.shape[:2]
    rows = np.pad(pixels[::-1, :, ::-1].reshape(height, 3 * width), ((0, 0), (0, -3 * width % 4))).tobytes()
    header = struct.pack("<2sIHHI", b"BM", 54 + len(rows), 0, 0, 54)
    return header + struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0) + rows
