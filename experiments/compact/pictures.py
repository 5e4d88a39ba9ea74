"""The pictures that an encoder is trained on: rendered once from its own seeds, then kept beside the runs.

Scenes in drawn styles carry objects, masks and styles; dead leaves and textures stand for photographs; filters make
other pictures of the same content. Nothing in them is a photograph, and no style is near one that tests use.
"""

import contextlib
import fcntl
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.compact.styles import POOLS, chosen
from experiments.compact.textures import FAMILIES, textures
from stylebench.files import json_digest, write_json
from stylebench.functional.dead_leaves import dead_leaves
from stylebench.worlds import filterstyle, procstyle
from stylebench.worlds.procstyle.styles import PATTERNS, Style, flatten

STYLES, SCENES = 4, 8  # of a block: every scene in every style
SIDE = 128  # of leaves, textures and filtered pictures, pixels
SCENE_SIDE = 64
FILTERED = 4  # pictures in each filter style
VERSION = 1  # raised when renders change
_TRAITS = ("stroke.amount", "stroke.glow", "shading.lambert", "shading.cel", "shading.gloss", "quantization.amount")
TRAITS = (*PATTERNS, *_TRAITS)  # what a style has or has not
_LOGGED = 50  # blocks between two lines of progress
_log = logging.getLogger("compact")


@dataclass(frozen=True)
class Plan:
    """How many pictures of each kind.

    Attributes:
        encoder: key of `styles.POOLS`.
        blocks: of `STYLES` styles and `SCENES` scenes each.
        leaves: dead-leaves pictures.
        textures: pictures of `textures`.
        filters: filter styles, `FILTERED` pictures each.
    """

    encoder: str
    blocks: int
    leaves: int
    textures: int
    filters: int


PLANS = {
    "compact": Plan("compact", blocks=750, leaves=2500, textures=5000, filters=800),
    "compact_judge": Plan("compact_judge", blocks=400, leaves=1200, textures=2400, filters=400),
}


@dataclass(frozen=True)
class Pictures:
    """Everything in memory, uint8 where it is pictures.

    Attributes:
        scenes: (blocks, STYLES, SCENES, 3, 64, 64).
        styles: (blocks, STYLES) number of the style within the pool, -1 for `photo`.
        traits: (blocks, STYLES, len(TRAITS)) bool, what each style has.
        semantic: (blocks, SCENES, 64, 64) uint8, 0 = background, else shape + 1.
        main: (blocks, SCENES) shape of the main object.
        shapes: (blocks, SCENES, 8) bool, shapes that occur.
        surfaces: (N, 3, 128, 128), leaves and textures.
        families: (N,) kind of texture; `len(FAMILIES)` for leaves.
        filtered: (filters, FILTERED, 3, 128, 128).
        unfiltered: (filters, FILTERED) places in `surfaces` of what was filtered.
    """

    scenes: Tensor
    styles: Tensor
    traits: Tensor
    semantic: Tensor
    main: Tensor
    shapes: Tensor
    surfaces: Tensor
    families: Tensor
    filtered: Tensor
    unfiltered: Tensor


def pictures(plan: Plan, folder: Path) -> Pictures:
    """Render the pictures of a plan, or read them where they have been rendered before.

    Args:
        plan: how many of each.
        folder: where renders are kept.

    Returns:
        The pictures.
    """
    path = folder / f"{plan.encoder}-{json_digest([VERSION, asdict(plan)])[:12]}.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(path.with_suffix(".lock")):
        if not path.is_file():
            _log.info("rendering into %s", path)
            rendered = _render(plan)
            part = path.with_suffix(".part")
            save_file({item.name: getattr(rendered, item.name) for item in fields(Pictures)}, part)
            write_json(path.with_suffix(".json"), asdict(plan))
            part.replace(path)
    return Pictures(**load_file(path))


def scaled(plan: Plan, share: float) -> Plan:
    """Return a plan with a share of the pictures, for a run that only tries something.

    Args:
        plan: the whole of it.
        share: of each kind, in (0, 1]; two of each kind stay at the least.

    Returns:
        The smaller plan.

    Raises:
        ValueError: if the share is not in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"--pictures must be a share above 0 and up to 1, got {share}")
    counts = {name: getattr(plan, name) for name in ("blocks", "leaves", "textures", "filters")}
    return replace(plan, **{name: max(2, round(share * count)) for name, count in counts.items()})


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Wait until no other process holds the lock: two runs that start together render once."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _render(plan: Plan) -> Pictures:
    seed = list(POOLS).index(plan.encoder) + 1
    blocks = _blocks(plan)
    _log.info("%d leaves, %d textures, %d filter styles", plan.leaves, plan.textures, plan.filters)
    surface, family = textures(plan.textures, SIDE, seed)
    surfaces = torch.cat([dead_leaves(plan.leaves, SIDE, seed), surface])
    families = torch.cat([torch.full((plan.leaves,), len(FAMILIES)), family])
    generator = torch.Generator().manual_seed(seed)
    unfiltered = torch.randint(len(surfaces), (plan.filters, FILTERED), generator=generator)
    filtered = []
    for number, places in zip(chosen(plan.encoder, "filterstyle", plan.filters), unfiltered, strict=True):
        style = filterstyle.prior_style(number, POOLS[plan.encoder])
        filtered.append(
            filterstyle.apply_style(surfaces[places], style, range(number * FILTERED, (number + 1) * FILTERED))
        )
    return Pictures(
        **blocks, surfaces=surfaces, families=families, filtered=torch.stack(filtered), unfiltered=unfiltered
    )


def _blocks(plan: Plan) -> dict[str, Tensor]:
    """Render scenes; in every second block `photo` takes the place of one of the styles that were drawn."""
    numbers = torch.tensor(chosen(plan.encoder, "procstyle", plan.blocks * STYLES)).view(plan.blocks, STYLES)
    numbers[::2, 0] = -1
    parts: dict[str, list[Tensor]] = {key: [] for key in ("scenes", "traits", "semantic", "main", "shapes")}
    for block in range(plan.blocks):
        if block % _LOGGED == 0:
            _log.info("block %d of %d", block, plan.blocks)
        keys = [f"{plan.encoder}-{block}-{place}" for place in range(SCENES)]
        scenes = procstyle.draw_scenes(keys)
        styles = [
            procstyle.PHOTO if number < 0 else procstyle.prior_style(number, POOLS[plan.encoder])
            for number in numbers[block].tolist()
        ]
        images = [
            procstyle.render(scenes, style, range(place * SCENES, (place + 1) * SCENES), SCENE_SIDE)
            for place, style in enumerate(styles, start=block * STYLES)
        ]
        labels = procstyle.scene_labels(scenes, SCENE_SIDE)
        parts["scenes"].append(torch.stack(images))
        parts["traits"].append(torch.tensor([_traits(style) for style in styles]))
        parts["semantic"].append(labels.semantic.to(torch.uint8))
        parts["main"].append(labels.main_class)
        parts["shapes"].append(labels.classes)
    return {"styles": numbers, **{key: torch.stack(values) for key, values in parts.items()}}


def _traits(style: Style) -> list[bool]:
    flat = flatten(style)
    names = [*(f"texture.{kind}.amplitude" for kind in PATTERNS), *_TRAITS]
    return [flat[name][0] > 0 for name in names]
