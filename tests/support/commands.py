"""Check that a command line in a deployment's file is one that `headrace` accepts."""

from collections.abc import Sequence

import typer
from typer.core import TyperGroup

from operations.cli import app


def accepted(arguments: Sequence[str]) -> None:
    """Parse `headrace ARGUMENTS` without running it.

    Raises:
        click.UsageError: `headrace` would refuse them."""
    command, left, context = typer.main.get_command(app), list(arguments), None
    while isinstance(command, TyperGroup):
        context = typer.Context(command, parent=context)
        name, found, left = command.resolve_command(context, left)
        assert found is not None, name
        command = found
    command.make_context(command.name or "", left)
