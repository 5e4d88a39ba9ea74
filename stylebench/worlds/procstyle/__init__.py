"""ProcStyle: procedural scenes, rendered in any number of styles, with every label known."""

from stylebench.worlds.procstyle.drawing import draw_scenes, visible_shares
from stylebench.worlds.procstyle.families import FAMILY, family_member
from stylebench.worlds.procstyle.labels import SceneLabels, scene_labels
from stylebench.worlds.procstyle.named import NAMED_STYLES, PHOTO, hue_style
from stylebench.worlds.procstyle.names import parse_style
from stylebench.worlds.procstyle.prior import POOL_SIZE, POOLS, prior_style, style_seed
from stylebench.worlds.procstyle.render import render
from stylebench.worlds.procstyle.scenes import BACKGROUNDS, MATERIALS, SHAPES, VERSION, Scenes
from stylebench.worlds.procstyle.speed import benchmark
from stylebench.worlds.procstyle.styles import (
    COMPONENTS,
    PATTERNS,
    STRENGTHS,
    Geometry,
    Palette,
    Pattern,
    Quantization,
    Shading,
    Stroke,
    Style,
    Texture,
    cover_weight,
    interpolate,
    style_digest,
)
from stylebench.worlds.procstyle.surfaces import cel_steps

__all__ = [
    "BACKGROUNDS",
    "COMPONENTS",
    "FAMILY",
    "MATERIALS",
    "NAMED_STYLES",
    "PATTERNS",
    "PHOTO",
    "POOLS",
    "POOL_SIZE",
    "SHAPES",
    "STRENGTHS",
    "VERSION",
    "Geometry",
    "Palette",
    "Pattern",
    "Quantization",
    "SceneLabels",
    "Scenes",
    "Shading",
    "Stroke",
    "Style",
    "Texture",
    "benchmark",
    "cel_steps",
    "cover_weight",
    "draw_scenes",
    "family_member",
    "hue_style",
    "interpolate",
    "parse_style",
    "prior_style",
    "render",
    "scene_labels",
    "style_digest",
    "style_seed",
    "visible_shares",
]
