"""Classifiers: networks with `features(images) -> (B, F)` and `head(features) -> (B, K)`, images in [0, 1]."""
