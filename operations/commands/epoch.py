"""The `headrace epoch` commands. Their work is imported when one runs, as in operations/cli.py."""

from typing import Annotated

import typer

from operations import settings as configuration
from operations.commands.options import Json, MaxRate
from operations.console import out

app = typer.Typer(
    no_args_is_help=True, help="The source's histories (epochs), and recovery after the source was restored."
)
Reason = Annotated[str, typer.Option(help="The reason, which `epoch ls` shows later.")]


@app.command("ls")
def epoch_ls(json: Json = False) -> None:
    """List the epochs: why each began, on which timeline, and why it ended."""
    from operations.epoch import ls

    ls.print_epochs(configuration.of("epoch ls"), out, json=json)


@app.command("accept")
def epoch_accept(reason: Reason) -> None:
    """Accept the source's current history as the captured one, after a failover that lost nothing.

    Then `connectors apply` resumes capture.
    """
    from operations.epoch import accept

    accept.accept(configuration.of("epoch accept"), out, reason)


@app.command("raise")
def epoch_raise(reason: Reason, max_rate: MaxRate = 0) -> None:
    """Begin a new epoch after the source was restored: capture all its rows again, build the report from these alone,
    verify it, and switch readers to it. If interrupted, run it again to resume."""
    from operations.replay import epoch as raising

    raising.raise_epoch(configuration.of("epoch raise"), configuration.stack_dir(), out, reason, max_rate=max_rate)
