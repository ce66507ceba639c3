"""The `headrace archive` commands. What each does is imported when it runs, as in operations/cli.py."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from operations import settings as configuration
from schemas.tables import EVENTS, TABLES, Table

if TYPE_CHECKING:  # its libraries are imported where an archive is used
    from sinks.archive.reading import Selection

app = typer.Typer(no_args_is_help=True, help="The archive: looked through, checked, read back and cared for.")


def _table(name: str) -> Table:
    for table in TABLES:
        if table.name == name and table.ages_by is not None:
            return table
    known = ", ".join(table.name for table in TABLES if table.ages_by is not None)
    raise typer.BadParameter(f"expected one of {known}, got {name!r}")


Tenant = Annotated[str | None, typer.Option(metavar="NAME", help="Of this tenant only.")]
Type = Annotated[str | None, typer.Option("--type", metavar="NAME", help="Events of this type only.")]
Since = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="From this day on (UTC).")]
Until = Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Up to this day, which is included.")]
OfTable = Annotated[Table, typer.Option("--table", metavar="NAME", parser=_table, help="Which table.")]
Limit = Annotated[int | None, typer.Option(help="At most this many.", min=0)]


@app.command()
def cat(  # noqa: PLR0913, PLR0917  # its options
    tenant: Tenant = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
    table: OfTable = EVENTS.name,  # type: ignore[assignment]  # Typer parses a default, too
    limit: Limit = None,
) -> None:
    """Print what is archived as JSON lines: each record once, by day, and nothing that was erased."""
    from operations import connections
    from operations.archive import reading

    if event_type is not None and table.name != EVENTS.name:
        raise typer.BadParameter("only events have a type", param_hint="--type")
    log = connections.archive(configuration.load(), "cat")
    reading.write(reading.lines(log, table, _selection(tenant, since, until, event_type)), limit)


def _selection(
    tenant: str | None, since: datetime | None, until: datetime | None, event_type: str | None = None
) -> "Selection":
    from sinks.archive.reading import Selection

    days = {name: day.date() for name, day in {"since": since, "until": until}.items() if day is not None}
    return Selection(tenant=tenant, event_type=event_type, **days)
