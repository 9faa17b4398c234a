"""`python -m potadlab` is the program `potadlab`."""

from .cli import main

if __name__ == "__main__":  # not in the processes that compile
    main()
