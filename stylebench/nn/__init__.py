"""Layers, networks and frozen encoders."""
