"""The `headrace archive` commands. Their work is imported when one runs, as in operations/cli.py."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from operations import settings as configuration
from operations.commands.options import Json, Yes
from operations.console import EXIT_FAILED, EXIT_UNDECIDED, err, out, print_line
from schemas.errors import HeadraceError, Unavailable
from schemas.tables import EVENTS, TABLES, Table

if TYPE_CHECKING:  # not at run time: its libraries take long to import
    from sinks.archive.reader import ArchiveSelection

app = typer.Typer(no_args_is_help=True, help="The archive: list, read, check, restore, repair and erase.")


def _table(name: str) -> Table:
    for table in TABLES:
        if table.name == name and table.ages_by is not None:
            return table
    known = ", ".join(table.name for table in TABLES if table.ages_by is not None)
    raise typer.BadParameter(f"expected one of {known}, got {name!r}")


Tenant = Annotated[str | None, typer.Option(metavar="NAME", help="Only this tenant.")]
Type = Annotated[str | None, typer.Option("--type", metavar="NAME", help="Only events of this type.")]


def _moment(text: str) -> date:
    """Parse a day, or an instant, which is in UTC unless it names a zone."""
    try:
        if "T" not in text:
            return date.fromisoformat(text)
        at = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"expected 2026-11-23 or 2026-11-23T09:30, got {text!r}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


Since = Annotated[
    date | None, typer.Option(parser=_moment, metavar="DAY|INSTANT", help="From this day or instant on (UTC).")
]
Until = Annotated[
    date | None,
    typer.Option(parser=_moment, metavar="DAY|INSTANT", help="Up to and including this day, or up to this instant."),
]
OfTable = Annotated[Table, typer.Option("--table", metavar="NAME", parser=_table, help="The table to read.")]
OfAnyTable = Annotated[Table | None, typer.Option("--table", metavar="NAME", parser=_table, help="Only this table.")]
Limit = Annotated[int | None, typer.Option(help="Print at most this many records.", min=0)]


@app.command()
def cat(  # noqa: PLR0913, PLR0917  # its options
    tenant: Tenant = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
    table: OfTable = EVENTS.name,  # type: ignore[assignment]  # Typer parses a default, too
    limit: Limit = None,
) -> None:
    """Print archived records as JSON lines, by day: each record once, without erased ones."""
    from operations import connections
    from operations.archive import cat as reading

    if event_type is not None and table.name != EVENTS.name:
        raise typer.BadParameter("only events have a type", param_hint="--type")
    log = connections.archive(configuration.of("archive"), "cat")
    reading.print_lines(reading.json_lines(log, table, _selection(tenant, since, until, event_type)), limit)


@app.command()
def ls(
    tenant: Tenant = None,
    since: Since = None,
    until: Until = None,
    table: OfAnyTable = None,
    json: Json = False,
) -> None:
    """List archived records by table, day and tenant bucket, with a total. Several tenants share a bucket."""
    from operations import connections
    from operations.archive import ls as listing

    manifest = connections.archive(configuration.of("archive"), "ls").manifest()
    tables = [each.name for each in TABLES] if table is None else [table.name]
    listing.print_listing(manifest, tables, _selection(tenant, since, until), out, json=json)


@app.command()
def verify(json: Json = False) -> None:
    """Read every entry, file and row, and compare. Exit 0 intact, 1 damaged, 2 could not be read."""
    from operations import connections
    from operations.archive import verify as verifying

    try:
        found = verifying.audit_with_progress(connections.archive(configuration.of("archive"), "verify"), err)
    except HeadraceError as error:  # a failure to read is not damage
        raise Unavailable(str(error)) from None
    verifying.print_audit(found, out, json=json)
    if found.damaged or found.undecided:
        raise typer.Exit(EXIT_FAILED if found.damaged else EXIT_UNDECIDED)


@app.command()
def compact(
    target_mb: Annotated[int, typer.Option(help="Merge files smaller than this.", min=1)] = 128,
    grace_minutes: Annotated[float, typer.Option(help="Delete files that left the manifest longer ago.", min=0)] = 60,
) -> None:
    """Merge the small files of each folder, and delete files that no reader needs. Run it daily, at any time."""
    from operations import connections
    from operations.archive import compact as compacting

    settings = configuration.of("archive")
    log, at = connections.archive(settings, "compact"), settings.archive
    target, grace = target_mb << 20, timedelta(minutes=grace_minutes)
    if not compacting.compact(log, print_line, spool=at.spool, codec=at.codec, target=target, grace=grace):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def erase(
    tenant: Annotated[str, typer.Option(metavar="NAME", help="The tenant of the customer or event.")],
    subject: Annotated[str | None, typer.Option(metavar="ID", help="The customer's id.")] = None,
    event: Annotated[UUID | None, typer.Option(help="Instead, one event that the outbox does not have.")] = None,
    by: Annotated[str | None, typer.Option(metavar="WHO", help="Who asked for it; recorded in the archive.")] = None,
    yes: Yes = False,
) -> None:
    """Erase a customer's records from the archive, and their events from reporting and from Postgres' outbox; or a
    single event that the outbox does not have. After a failure, run the same command again to finish."""
    from operations.archive import erase as erasure
    from operations.archive import erase_event
    from sinks.archive.subject import Subject

    if (subject is None) == (event is None):
        raise typer.BadParameter("give one of --subject and --event")
    settings, confirm = configuration.of("archive erase"), _confirm(yes)
    if event is not None:
        erase_event.erase_event(settings, out, tenant, str(event), by=by, confirm=confirm)
    elif subject is not None:
        erasure.erase_subject(settings, out, Subject(tenant, subject), by=by, confirm=confirm)


@app.command()
def restore(
    to: Annotated[str, typer.Option("--to", metavar="TOPIC", help="The topic to send to; created if missing.")],
    tenant: Tenant = None,
    event_type: Type = None,
    since: Since = None,
    until: Until = None,
) -> None:
    """Send archived events to a topic, in the format of captured ones."""
    from operations.archive import restore as restoring

    restoring.restore_events(configuration.of("archive restore"), out, _selection(tenant, since, until, event_type), to)


@app.command()
def rebuild() -> None:
    """Rebuild the manifest from the files alone, and keep the old one as a backup. Stop the archive worker first. Exit
    1 when a file is damaged."""
    from operations.archive import rebuild as rebuilding

    if not rebuilding.rebuild_manifest(configuration.of("archive"), out):
        raise typer.Exit(EXIT_FAILED)


@app.command()
def skip(yes: Yes = False) -> None:
    """Move the archive worker to the topics' first offsets, after they lost records that it had not read."""
    from operations.archive import skip as skipping

    skipping.skip_gaps(configuration.of("archive skip"), out, _confirm(yes))


@app.command()
def backfill(
    day: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The day of the events (UTC).")],
) -> None:
    """Archive the events of a day that are in Postgres' outbox but not in the archive. Exit 1 when a damaged file
    remains."""
    from operations.archive import backfill as backfilling

    if not backfilling.backfill_day(configuration.of("archive backfill"), out, day.date()):
        raise typer.Exit(EXIT_FAILED)


def _confirm(yes: bool) -> Callable[[str], object]:
    """Return a function that asks on the terminal, unless `yes`; answering no aborts the command."""
    return lambda question: yes or typer.confirm(question, abort=True)


def _selection(
    tenant: str | None, since: date | None, until: date | None, event_type: str | None = None
) -> "ArchiveSelection":
    from sinks.archive.reader import ArchiveSelection

    return ArchiveSelection(tenant=tenant, event_type=event_type, since=since, until=until)
