"""Parametric artistic filters on photographs, pure functions of images, strength, seeds and settings."""

from stylebench.worlds.filters.halftone import halftone
from stylebench.worlds.filters.hatching import hatching
from stylebench.worlds.filters.kuwahara import classic_kuwahara, kuwahara
from stylebench.worlds.filters.palette import palette_map
from stylebench.worlds.filters.pixel_art import pixel_art
from stylebench.worlds.filters.posterize import posterize_edges
from stylebench.worlds.filters.watercolor import watercolor
from stylebench.worlds.filters.xdog import xdog

__all__ = [
    "classic_kuwahara",
    "halftone",
    "hatching",
    "kuwahara",
    "palette_map",
    "pixel_art",
    "posterize_edges",
    "watercolor",
    "xdog",
]
