"""The `headrace replay` command. What it does is imported when it runs, as in operations/cli.py."""

from typing import Annotated

import typer

from operations import settings as configuration
from operations.terminal import out


def replay(
    max_rate: Annotated[
        float, typer.Option(help="Records a second that each new worker takes at most; 0: no limit.", min=0)
    ] = 0,
    abort: Annotated[bool, typer.Option("--abort", help="Remove the generation that is being built.")] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Have readers see the previous one again.")] = False,
    drop_old: Annotated[bool, typer.Option("--drop-old", help="Remove the previous one.")] = False,
) -> None:
    """Build the report anew beside the live one, verify it, and have readers see it. Interrupted, it goes on when it is
    run again. Exit 1 when it differs from the source."""
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
