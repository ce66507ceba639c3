"""`python -m operations`: the `headrace` command where its script is not on the PATH."""

from operations.cli import main

main()
