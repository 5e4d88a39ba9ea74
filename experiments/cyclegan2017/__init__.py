"""Experiments on Zhu, Park, Isola, Efros 2017: unpaired translation."""
