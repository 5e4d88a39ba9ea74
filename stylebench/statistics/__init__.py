"""Benchmarks: statistics, suites and reports on run folders; numpy and SciPy only."""
