"""Configuration groups of stylebench, read by Hydra as `pkg://stylebench.conf`."""
