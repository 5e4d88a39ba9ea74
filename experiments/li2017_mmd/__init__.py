"""Experiments on Li, Wang, Liu, Hou 2017: style losses beside each other."""
