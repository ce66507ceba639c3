"""The `headrace archive` commands. What each does is imported when it runs, as in operations/cli.py."""

import typer

app = typer.Typer(no_args_is_help=True, help="The archive: looked through, checked, read back and cared for.")
