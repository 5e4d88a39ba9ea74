"""Feature extractors: the networks that look at images for the metrics."""
