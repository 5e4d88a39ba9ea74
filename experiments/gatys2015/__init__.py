"""Experiments on Gatys, Ecker, Bethge 2015: what texture models need."""
