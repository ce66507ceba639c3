"""The `headrace replay` command. Its work is imported when it runs, as in operations/cli.py."""

from typing import Annotated

import typer

from operations import settings as configuration
from operations.commands.options import MaxRate
from operations.console import out


def replay(
    max_rate: MaxRate = 0,
    abort: Annotated[bool, typer.Option("--abort", help="Remove the generation that is being built.")] = False,
    rollback: Annotated[
        bool, typer.Option("--rollback", help="Switch readers back to the previous generation.")
    ] = False,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Remove the previous generation.")] = False,
) -> None:
    """Build a new generation of reporting beside the live one, verify it, and switch readers to it. If interrupted, run
    it again to resume. Exit 1 when it differs from the source."""
    from operations.replay import drop, run

    if abort + rollback + drop_old > 1:
        raise typer.BadParameter("expected one of --abort, --rollback and --drop-old")
    settings, folder = configuration.of("replay"), configuration.stack_dir()
    if abort:
        drop.abort(settings, folder, out)
    elif rollback:
        run.rollback(settings, out)
    elif drop_old:
        drop.drop_old(settings, folder, out)
    else:
        run.replay(settings, folder, out, max_rate=max_rate)
