"""The `headrace connectors` commands. Their work is imported when one runs, as in operations/cli.py."""

from typing import Annotated

import typer

from operations import settings as configuration
from operations.commands.options import Json
from operations.console import out, print_line

app = typer.Typer(no_args_is_help=True, help="Make Kafka Connect, topics and publication match the tables.")


@app.command()
def plan(json: Json = False) -> None:
    """Print what `connectors apply` would change. Exit 0 even when there are changes to make."""
    from operations import capture

    capture.print_plan(configuration.of("connectors plan"), out, json=json)


@app.command()
def apply() -> None:
    """Make topics, publication and connectors match schemas/tables.py. Idempotent."""
    from operations import capture

    capture.apply(configuration.of("connectors apply"), print_line)


@app.command()
def remove(
    topics: Annotated[
        bool,
        typer.Option(
            "--topics",
            help="Also delete the topics with captured records (see docs/runbook.md#topic-replaced); "
            "dead letters are kept.",
        ),
    ] = False,
) -> None:
    """Remove the connectors with their offsets, the replication slot and the publication."""
    from operations import capture

    capture.remove(configuration.of("connectors remove"), print_line, topics=topics)
