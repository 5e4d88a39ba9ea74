"""Rendered worlds whose exact answers are known."""
