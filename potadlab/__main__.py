"""`python -m potadlab` is the program `potadlab`."""

from .cli import main

main()
