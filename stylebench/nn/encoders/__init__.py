"""Frozen feature networks with named taps."""
