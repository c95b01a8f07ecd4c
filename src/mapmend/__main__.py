"""`python -m mapmend`."""

from mapmend.cli import main

main()
