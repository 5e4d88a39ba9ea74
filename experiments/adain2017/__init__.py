"""Experiments on Huang & Belongie 2017: what a training step costs, and which statistics carry the style."""
