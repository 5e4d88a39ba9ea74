"""One folder a paper: sweeps, expectations and results."""
