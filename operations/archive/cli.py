"""The `headrace archive` commands. What each does is imported when it runs, as in operations/cli.py."""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated

import typer
from rich.console import Console

from operations import settings as configuration

app = typer.Typer(no_args_is_help=True, help="The archive: looked through, checked, read back and cared for.")

out = Console(highlight=False)
Yes = Annotated[bool, typer.Option("--yes", help="Don't ask.")]
DAY = ["%Y-%m-%d"]


@app.command()
def erase(
    tenant: Annotated[str, typer.Option(help="Whose customer it is.")],
    subject: Annotated[str, typer.Option(help="The customer's id.")],
    by: Annotated[str | None, typer.Option(metavar="WHO", help="Who asked for it; the archive keeps that.")] = None,
    yes: Yes = False,
) -> None:
    """Erase what there is of a person: in the archive, reporting's events and Postgres' outbox. Run again after a
    failure, it finishes."""
    from operations.archive import erase as erasure
    from sinks.archive.subject import Subject

    erasure.erase(configuration.load(), out, Subject(tenant, subject), by=by, confirm=_confirm(yes))


@app.command()
def restore(
    to: Annotated[str, typer.Option("--to", metavar="TOPIC", help="It is made where it is missing.")],
    tenant: Annotated[str | None, typer.Option(metavar="NAME", help="Of this tenant only.")] = None,
    event_type: Annotated[str | None, typer.Option("--type", metavar="NAME", help="Events of this type only.")] = None,
    since: Annotated[datetime | None, typer.Option(formats=DAY, help="From this day on (UTC).")] = None,
    until: Annotated[datetime | None, typer.Option(formats=DAY, help="Up to this day, which is included.")] = None,
) -> None:
    """Send archived events to a topic, in the form in which capture gives them."""
    from operations.archive.restore import Wanted
    from operations.archive.restore import restore as send

    days = {name: day.date() for name, day in {"since": since, "until": until}.items() if day is not None}
    send(configuration.load(), out, Wanted(tenant=tenant, event_type=event_type, **days), to)


@app.command()
def rebuild() -> None:
    """Make the manifest anew from the files alone; the old one is set aside. Stop the archive worker first. Exit 1 when
    files were damaged."""
    from operations.archive import rebuild as making

    if not making.rebuild(configuration.load(), out):
        raise typer.Exit(1)


@app.command()
def skip(yes: Yes = False) -> None:
    """Let the archive worker go on where the topics begin, when they have lost what it had not read."""
    from operations.archive import gaps

    gaps.skip(configuration.load(), out, _confirm(yes))


@app.command()
def backfill(day: Annotated[datetime, typer.Option(formats=DAY, help="The day of the events (UTC).")]) -> None:
    """Archive the events of a day that Postgres' outbox has and the archive lacks. Exit 1 when a damaged file stays."""
    from operations.archive import gaps

    if not gaps.backfill(configuration.load(), out, day.date()):
        raise typer.Exit(1)


def _confirm(yes: bool) -> Callable[[str], object]:
    return lambda question: yes or typer.confirm(question, abort=True)
