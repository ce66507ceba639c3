"""The `headrace verify` command. Its work is imported when it runs, as in operations/cli.py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from operations import settings as configuration
from operations.commands.options import Json
from operations.console import EXIT_FAILED, EXIT_UNDECIDED, err, invoking_user, out, progress_bar
from schemas.errors import HeadraceError, Unavailable

if TYPE_CHECKING:  # not at run time: their libraries take long to import
    from operations.settings import Settings
    from operations.verify.run import VerifySelection
    from schemas.tables import Table


def _month(text: str) -> date:
    """Parse a month as 2026-11, or a day in it."""
    try:
        return date.fromisoformat(f"{text}-01" if len(text) == len("2026-11") else text).replace(day=1)
    except ValueError:
        raise typer.BadParameter(f"expected a month such as 2026-11, got {text!r}") from None


Tables = Annotated[list[str] | None, typer.Option("--table", metavar="NAME", help="Only this table; repeatable.")]
Tenants = Annotated[list[str] | None, typer.Option("--tenant", metavar="NAME", help="Only this tenant; repeatable.")]
Months = Annotated[
    list[date] | None,
    typer.Option("--month", metavar="YYYY-MM", parser=_month, help="Only rows of this month; repeatable."),
]
Since = Annotated[
    date | None, typer.Option(metavar="YYYY-MM", parser=_month, help="Only rows of this month and later ones.")
]
Generation = Annotated[
    int | None, typer.Option(help="The generation of reporting to compare; by default the live one.", min=1)
]
Repair = Annotated[
    bool,
    typer.Option(
        "--repair",
        help="Capture rows that differ again, remove rows that only reporting has, then compare again.",
    ),
]
Follow = Annotated[
    bool,
    typer.Option("--follow", help="Compare repeatedly until SIGTERM, and record the time up to which all was equal."),
]
Topics = Annotated[
    bool,
    typer.Option(
        "--topics",
        help="Instead, find keys whose last record in their topic is older than the landed row. Run it daily.",
    ),
]
MaxLoad = Annotated[
    float, typer.Option(help="With --follow: the maximum share of the time spent comparing.", min=0.001, max=1)
]
Deadline = Annotated[float, typer.Option(help="Seconds to wait for the pipeline to catch up.", min=0)]


def verify(  # noqa: PLR0913, PLR0917  # its options
    table: Tables = None,
    tenant: Tenants = None,
    month: Months = None,
    since: Since = None,
    generation: Generation = None,
    repair: Repair = False,
    follow: Follow = False,
    topics: Topics = False,
    max_load: MaxLoad = 0.2,
    deadline: Deadline = 60.0,
    json: Json = False,
) -> None:
    """Compare every row of Postgres and MongoDB with reporting. Exit 0 equal, 1 different, 2 undecided."""
    from operations.verify.run import select

    try:
        settings = configuration.of("verify --repair" if repair else "verify --topics" if topics else "verify")
        selection = select(table or [], tenants=tenant or [], months=month or [], since=since)
        if topics:
            if follow or tenant or month or since:
                raise HeadraceError("--topics reads whole topics: it goes with --table, --generation and --repair only")
            _topics(settings, table or [], generation=generation, deadline_s=deadline, repair=repair, json=json)
        elif follow:
            from operations.verify import serve

            serve.follow_until_signal(
                settings, selection, generation=generation, max_load=max_load, deadline_s=deadline, json=json
            )
        else:
            _rows(settings, selection, generation=generation, deadline_s=deadline, repair=repair, json=json)
    except HeadraceError as error:  # a failure to compare is not a difference
        raise Unavailable(str(error)) from None


def _rows(  # noqa: PLR0913
    settings: "Settings",
    selection: "VerifySelection",
    *,
    generation: int | None,
    deadline_s: float,
    repair: bool,
    json: bool,
) -> None:
    from operations.verify import run as verification

    with _progress(len(selection.tables)) as on_table:
        result = verification.verify(
            settings,
            deadline_s=deadline_s,
            on_table=on_table,
            generation=generation,
            selection=selection,
            repair_by=invoking_user() if repair else None,
        )
    verification.print_result(result, out, json=json)
    if repair:
        for name in verification.unrepairable_tables(result):
            _cannot_repair(name)
        for name, count in verification.only_copies(result).items():
            err.print(
                f"{name}: {count:,} rows that only reporting has are kept; to delete one permanently: "
                "headrace archive erase --event; see docs/runbook.md#unexpected-rows",
                soft_wrap=True,
            )
    if not result.equal:
        raise typer.Exit(EXIT_FAILED if result.different else EXIT_UNDECIDED)


def _topics(  # noqa: PLR0913
    settings: "Settings", tables: list[str], *, generation: int | None, deadline_s: float, repair: bool, json: bool
) -> None:
    from operations.verify import topics as verify_topics
    from operations.verify.documents import can_capture_again
    from schemas.tables import TABLES, reported

    with _progress(len(tables or reported(TABLES))) as on_table:
        found = verify_topics.verify_topics(
            settings, deadline_s=deadline_s, generation=generation, tables=tables, repair=repair, on_table=on_table
        )
    verify_topics.print_overtaken(found, out, json=json)
    if repair:
        for name in sorted({each.table.name for each in found if not can_capture_again(each.table, each.key)}):
            _cannot_repair(name)
    if found:
        raise typer.Exit(EXIT_FAILED)


def _cannot_repair(table: str) -> None:
    err.print(f"{table}: not all documents can be captured again; see docs/runbook.md#not-repaired")


@contextmanager
def _progress(tables: int) -> Iterator[Callable[["Table"], None]]:
    with progress_bar("verify", "waiting for the pipeline", tables) as begin:
        yield lambda table: begin(table.name)
