"""The `headrace retention` commands. Their work is imported when one runs, as in operations/cli.py."""

from typing import Annotated

import typer

from operations import settings as configuration
from operations.commands.options import Json
from operations.console import EXIT_FAILED, out

app = typer.Typer(
    no_args_is_help=True, help="Data that has passed its retention period: list it, and delete it once it is archived."
)

Hold = Annotated[
    list[str] | None,
    typer.Option(metavar="tenant=NAME", help="Delete nothing of this tenant, like [hold] in the policy; repeatable."),
]


@app.command()
def plan(hold: Hold = None, json: Json = False) -> None:
    """List what has passed its retention period in each store, and whether the archive holds it. Deletes nothing."""
    _retention(hold or [], apply=False, json=json)


@app.command()
def apply(hold: Hold = None, json: Json = False) -> None:
    """Delete what has passed its retention period and is proven to be archived, and create future partitions. Exit 1
    when something had to be kept."""
    _retention(hold or [], apply=True, json=json)


def _retention(hold: list[str], *, apply: bool, json: bool) -> None:
    from operations.retention import run as retention

    wrong = [each for each in hold if not each.removeprefix("tenant=") or not each.startswith("tenant=")]
    if wrong:
        raise typer.BadParameter(f"expected tenant=NAME, got {wrong[0]!r}", param_hint="--hold")
    tenants = frozenset(each.removeprefix("tenant=") for each in hold)
    if not retention.run(configuration.of("retention"), out, apply=apply, held=tenants, json=json):
        raise typer.Exit(EXIT_FAILED)
