"""Experiments on Gatys, Ecker, Bethge 2016: what its figures claim, measured on many pairs."""
