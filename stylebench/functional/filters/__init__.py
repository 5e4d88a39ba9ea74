"""Parametric artistic filters on photographs, pure functions of images, strength, seeds and settings."""

from stylebench.functional.filters.halftone import halftone
from stylebench.functional.filters.hatching import hatching
from stylebench.functional.filters.kuwahara import classic_kuwahara, kuwahara
from stylebench.functional.filters.palette import palette_map
from stylebench.functional.filters.pixel_art import pixel_art
from stylebench.functional.filters.posterize import posterize_edges
from stylebench.functional.filters.watercolor import watercolor
from stylebench.functional.filters.xdog import xdog

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
