"""One method a file: the paper's algorithm, read top to bottom."""
