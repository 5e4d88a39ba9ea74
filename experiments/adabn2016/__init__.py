"""Li et al. 2016, AdaBN: cost, and what a generator makes of another domain."""
