"""`python -m backend.cli`."""

from backend.cli import main

if __name__ == "__main__":  # processes that an evaluation starts import this module again
    main()
