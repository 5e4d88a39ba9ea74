"""Entry point of `python -m stylebench`."""

from stylebench.cli.main import main

if __name__ == "__main__":
    main()
