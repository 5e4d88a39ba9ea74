"""Domain adaptation: strategies on the normalization layers of any network, one strategy a file."""
