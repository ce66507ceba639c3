"""What all commands print to, and the codes that they exit with."""

import sys
from typing import Annotated

import typer
from rich.console import Console

WRONG, UNDECIDED, INTERRUPTED = 1, 2, 130

PLAIN_WIDTH = 120  # of lines that go to a file or a pipe
out = Console(highlight=False, width=None if sys.stdout.isatty() else PLAIN_WIDTH)
err = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PLAIN_WIDTH)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for a machine to read.")]


def say(line: str) -> None:
    """Print one line of progress as it is."""
    out.print(line, markup=False, soft_wrap=True)
