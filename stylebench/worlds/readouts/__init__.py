"""Read-outs of style strength: closed-form measures of images whose content is known."""

from stylebench.worlds.readouts.curves import content_curves, invert_curves, repeated_share, rising
from stylebench.worlds.readouts.levels import edge_energy, grid_excess, log_levels
from stylebench.worlds.readouts.outlines import outline_profile
from stylebench.worlds.readouts.placement import Placed, find_shifts, put_back
from stylebench.worlds.readouts.regions import clear_regions, coordinates, region_means, region_trends, spread
from stylebench.worlds.readouts.shading import shading_slopes
from stylebench.worlds.readouts.spectra import (
    Band,
    band_energy,
    find_band,
    masked_autocorrelation,
    spectral_peak,
    spectrum,
)

__all__ = [
    "Band",
    "Placed",
    "band_energy",
    "clear_regions",
    "content_curves",
    "coordinates",
    "edge_energy",
    "find_band",
    "find_shifts",
    "grid_excess",
    "invert_curves",
    "log_levels",
    "masked_autocorrelation",
    "outline_profile",
    "put_back",
    "region_means",
    "region_trends",
    "repeated_share",
    "rising",
    "shading_slopes",
    "spectral_peak",
    "spectrum",
    "spread",
]
