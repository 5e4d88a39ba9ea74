"""Strength of style by component, read off images whose content is known."""

from stylebench.worlds.strength.reader import Readings, StrengthReader

__all__ = ["Readings", "StrengthReader"]
