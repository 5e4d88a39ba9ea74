"""The pictures that an encoder is trained on: rendered once from its own seeds, then kept beside the runs.

Scenes in drawn styles carry objects, masks and styles; dead leaves and textures stand for photographs; filters make
other pictures of the same content. Nothing in them is a photograph, and no style is near one that tests use.
"""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from experiments.compact.styles import POOLS, chosen
from experiments.compact.textures import FAMILIES, textures
from stylebench.data import filterstyle, procstyle
from stylebench.data.procstyle.styles import PATTERNS, Style, flatten
from stylebench.files import json_digest
from stylebench.functional.dead_leaves import dead_leaves

STYLES, SCENES = 4, 8  # of a block: every scene in every style
SIDE = 128  # of leaves, textures and filtered pictures, pixels
SCENE_SIDE = 64
FILTERED = 4  # pictures in each filter style
_VERSION = 1
_TRAITS = ("stroke.amount", "stroke.glow", "shading.lambert", "shading.cel", "shading.gloss", "quantization.amount")
TRAITS = (*PATTERNS, *_TRAITS)  # what a style has or has not


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
    path = folder / f"{plan.encoder}-{json_digest([_VERSION, asdict(plan)])[:12]}.safetensors"
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        rendered = _render(plan)
        part = path.with_suffix(".part")
        save_file({item.name: getattr(rendered, item.name) for item in fields(Pictures)}, part)
        part.rename(path)
        path.with_suffix(".json").write_text(json.dumps(asdict(plan), indent=1))
    return Pictures(**load_file(path))


def _render(plan: Plan) -> Pictures:
    seed = list(POOLS).index(plan.encoder) + 1
    blocks = _blocks(plan)
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
    """Render scenes; in every second block one of the styles is `photo`."""
    numbers = torch.tensor(chosen(plan.encoder, "procstyle", plan.blocks * STYLES)).view(plan.blocks, STYLES)
    numbers[::2, 0] = -1
    parts: dict[str, list[Tensor]] = {key: [] for key in ("scenes", "traits", "semantic", "main", "shapes")}
    for block in range(plan.blocks):
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
