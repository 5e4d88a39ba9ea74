"""FilterStyle: any photographs through eight parametric artistic filters, with strength, nuisance and read-out maps."""

from stylebench.worlds.filterstyle.names import parse_style
from stylebench.worlds.filterstyle.prior import POOLS, prior_style
from stylebench.worlds.filterstyle.readouts import readout_contours, readout_regions
from stylebench.worlds.filterstyle.rendering import VERSION, apply_style
from stylebench.worlds.filterstyle.speed import benchmark
from stylebench.worlds.filterstyle.styles import FILTERS, NAMED_STYLES, PHOTO, Style, make_style

__all__ = [
    "FILTERS",
    "NAMED_STYLES",
    "PHOTO",
    "POOLS",
    "VERSION",
    "Style",
    "apply_style",
    "benchmark",
    "make_style",
    "parse_style",
    "prior_style",
    "readout_contours",
    "readout_regions",
]
