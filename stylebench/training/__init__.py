"""What accompanies a training: callbacks, resume, the CSV log."""
