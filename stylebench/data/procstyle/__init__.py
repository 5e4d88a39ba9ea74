"""ProcStyle: procedural scenes, rendered in any number of styles, with every label known."""

from stylebench.data.procstyle.drawing import draw_scenes, visible_shares
from stylebench.data.procstyle.labels import SceneLabels, scene_labels
from stylebench.data.procstyle.named import NAMED_STYLES, PHOTO, hue_style
from stylebench.data.procstyle.prior import POOL_SIZE, POOLS, parse_style, prior_style, style_seed
from stylebench.data.procstyle.render import render
from stylebench.data.procstyle.scenes import BACKGROUNDS, MATERIALS, SHAPES, VERSION, Scenes
from stylebench.data.procstyle.speed import benchmark
from stylebench.data.procstyle.styles import (
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
from stylebench.data.procstyle.surfaces import cel_steps

__all__ = [
    "BACKGROUNDS",
    "COMPONENTS",
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
