"""The `headrace epoch` commands. What they do is imported when they run, as in operations/cli.py."""

from typing import Annotated

import typer

from operations import settings as configuration
from operations.terminal import Json, out

app = typer.Typer(no_args_is_help=True, help="The histories that the source has had, and what to do when it restarts.")
Reason = Annotated[str, typer.Option(help="Why, for whoever reads `epoch ls` later.")]


@app.command("ls")
def epoch_ls(json: Json = False) -> None:
    """List the epochs: why each began, on which timeline, and why it ended."""
    from operations.epoch import ls

    ls.show(configuration.of("epoch ls"), out, json=json)


@app.command("accept")
def epoch_accept(reason: Reason) -> None:
    """Take the source's present history for the one that was captured: a failover that looked like a loss and was none.
    `connectors apply` then goes on."""
    from operations.epoch import accept

    accept.accept(configuration.of("epoch accept"), out, reason)


@app.command("raise")
def epoch_raise(
    reason: Reason,
    max_rate: Annotated[
        float, typer.Option(help="Records a second that each new worker takes at most; 0: no limit.", min=0)
    ] = 0,
) -> None:
    """Begin anew with a source whose history restarted: capture it from its first row, build the report from that
    alone, verify it, and have readers see it. Interrupted, it goes on when it is run again."""
    from operations.epoch import raising

    raising.raise_epoch(configuration.of("epoch raise"), configuration.stack_dir(), out, reason, max_rate=max_rate)
