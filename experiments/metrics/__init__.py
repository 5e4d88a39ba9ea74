"""Grading the metrics: what each of them can and cannot tell."""
