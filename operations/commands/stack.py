"""The commands for the pipeline on this machine. Their work is imported when one runs, as in operations/cli.py."""

from pathlib import Path
from typing import Annotated

import typer

from operations import settings as configuration
from operations.commands.options import Json
from operations.console import EXIT_FAILED, out


def up() -> None:
    """Start the servers on this machine, migrate the databases and begin capture. Idempotent."""
    from operations import local

    local.up(configuration.stack_dir(), out)


def down(wipe: Annotated[bool, typer.Option("--wipe", help="Also delete their data.")] = False) -> None:
    """Stop the workers and servers that `headrace up` or the demo started on this machine."""
    from operations import local

    local.down(configuration.stack_dir(), out, wipe=wipe)


def status(json: Json = False) -> None:
    """Show servers, workers, connectors and each stage's backlog. Exit 0 when all of them run, else 1."""
    from operations.status.screen import print_status

    if not print_status(configuration.of("status"), configuration.stack_dir(), out, json=json):
        raise typer.Exit(EXIT_FAILED)


def demo(
    orders: Annotated[int, typer.Option(help="Number of generated orders.", min=1)] = 2_000,
    olist: Annotated[Path | None, typer.Option(help="Use Olist's real orders from this folder instead.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end.")] = False,
    running: Annotated[
        bool,
        typer.Option("--running", help="Use the pipeline that the settings name; start and stop nothing."),
    ] = False,
) -> None:
    """Start everything, write orders, watch them arrive, and prove that reporting equals Postgres."""
    from operations.demo import run as demonstration

    if running:
        settings = configuration.of("demo --running")
        equal = demonstration.run_on(settings, out, orders=orders, olist=olist)
    else:
        equal = demonstration.run(configuration.stack_dir(), out, orders=orders, olist=olist, keep=keep)
    if not equal:
        raise typer.Exit(EXIT_FAILED)
