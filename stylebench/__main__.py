"""Entry point of `python -m stylebench`."""

from stylebench.cli import main

if __name__ == "__main__":
    main()
