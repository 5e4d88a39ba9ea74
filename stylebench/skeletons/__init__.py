"""Methods to start from: each runs as it stands, and `commands/new.py` copies it under another name."""
