"""What happens around a training step: averages, grids, records, checkpoints."""
