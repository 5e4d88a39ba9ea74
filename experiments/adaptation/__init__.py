"""Digits across domains."""
