"""Strength and variety of style by component, read off images whose content is known."""

from stylebench.worlds.strength.reader import Readings, StrengthReader
from stylebench.worlds.strength.variety import deviations, relative_variety

__all__ = ["Readings", "StrengthReader", "deviations", "relative_variety"]
