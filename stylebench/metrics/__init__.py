"""Metrics: what is measured on the images that a method makes."""
