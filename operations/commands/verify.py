"""The `headrace verify` command. What it does is imported when it runs, as in operations/cli.py."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from operations import settings as configuration
from operations.invoked import who
from operations.terminal import UNDECIDED, WRONG, Json, err, out, say
from schemas.errors import HeadraceError, Unavailable

if TYPE_CHECKING:
    from operations.settings import Settings
    from operations.verify.run import VerifySelection
    from schemas.tables import Table


def _month(text: str) -> date:
    """A month as 2026-11, or a day in it."""
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
    date | None, typer.Option(metavar="YYYY-MM", parser=_month, help="Only rows of this month and of later ones.")
]
Generation = Annotated[int | None, typer.Option(help="Which generation of reporting; by default the live one.", min=1)]


def verify(  # noqa: PLR0913, PLR0917  # its options
    table: Tables = None,
    tenant: Tenants = None,
    month: Months = None,
    since: Since = None,
    generation: Generation = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--repair",
            help="Have what differs captured again, take out rows that only reporting has, then compare again.",
        ),
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Compare again and again until SIGTERM, and note up to when all was equal.")
    ] = False,
    topics: Annotated[
        bool,
        typer.Option(
            "--topics",
            help="Instead, look for keys whose last record in their topic is older than the landed row. Run it daily.",
        ),
    ] = False,
    max_load: Annotated[
        float, typer.Option(help="With --follow: the share of the time that may be spent on it.", min=0.001, max=1)
    ] = 0.2,
    deadline: Annotated[float, typer.Option(help="Seconds that the line may take to catch up.", min=0)] = 60.0,
    json: Json = False,
) -> None:
    """Compare every row of Postgres and MongoDB with reporting. Exit 0 equal, 1 different, 2 could not be decided."""
    from operations.verify import run as verification

    try:
        settings = configuration.of("verify --repair" if repair else "verify --topics" if topics else "verify")
        selection = verification.select(table or [], tenants=tenant or [], months=month or [], since=since)
        if topics:
            if follow or tenant or month or since:
                raise HeadraceError(
                    "--topics reads whole topics: it goes with --table, --generation and --repair alone"
                )
            _topics(settings, table or [], generation=generation, deadline_s=deadline, repair=repair, json=json)
            return
        if follow:
            _follow(settings, selection, generation=generation, max_load=max_load, deadline_s=deadline, json=json)
            return
        with _progress(len(selection.tables)) as on_table:
            result = verification.verify(
                settings,
                deadline_s=deadline,
                on_table=on_table,
                generation=generation,
                selection=selection,
                repair_by=who() if repair else None,
            )
    except HeadraceError as error:  # whatever kept it from looking, it is no difference
        raise Unavailable(str(error)) from None
    verification.show(result, out, json=json)
    if repair:
        for name in verification.beyond_repair(result):
            _cannot_repair(name)
        for name, count in verification.only_copies(result).items():
            err.print(
                f"{name}: {count:,} that only reporting has stay as they are; to remove one for good: "
                "headrace archive erase --event; see docs/runbook.md#unexpected-rows",
                soft_wrap=True,
            )
    if not result.equal:
        raise typer.Exit(WRONG if result.different else UNDECIDED)


def _cannot_repair(table: str) -> None:
    err.print(f"{table}: not all documents can be captured again; see docs/runbook.md#not-repaired")


def _topics(  # noqa: PLR0913
    settings: "Settings", tables: list[str], *, generation: int | None, deadline_s: float, repair: bool, json: bool
) -> None:
    from operations.verify import topics as verify_topics
    from schemas.tables import TABLES, reported

    with _progress(len(tables or reported(TABLES))) as on_table:
        found = verify_topics.verify_topics(
            settings, deadline_s=deadline_s, generation=generation, tables=tables, repair=repair, on_table=on_table
        )
    verify_topics.show(found, out, json=json)
    if repair:
        for name in sorted({each.table.name for each in found if not verify_topics.mendable(each)}):
            _cannot_repair(name)
    if found:
        raise typer.Exit(WRONG)


def _follow(  # noqa: PLR0913
    settings: "Settings",
    selection: "VerifySelection",
    *,
    generation: int | None,
    max_load: float,
    deadline_s: float,
    json: bool,
) -> None:
    import signal
    import threading

    from messaging.health import HealthServer
    from operations.verify import follow as following
    from operations.verify import output

    following.whole(selection)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    serving = HealthServer(
        settings.verify.http_port, alive=lambda: None, ready=lambda: None, host=settings.verify.http_host
    )
    err.print(f"metrics are served on port {serving.port}")
    try:
        following.follow(
            settings,
            selection,
            generation=generation,
            max_load=max_load,
            deadline_s=deadline_s,
            stopping=stopping,
            on_result=lambda result: say(output.in_one_line(result, json=json)),
            on_trouble=lambda said: err.print(f"headrace: {said}", style="red", markup=False),
        )
    finally:
        serving.close()


@contextmanager
def _progress(tables: int) -> Iterator[Callable[["Table"], None]]:
    """A bar on a terminal, which moves when a table is begun."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("verify"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeElapsedColumn(), console=err, transient=True, disable=not err.is_terminal) as bar:
        task = bar.add_task("waits for the line", total=tables)
        begun = 0

        def on_table(table: "Table") -> None:
            nonlocal begun
            bar.update(task, completed=begun, description=table.name)
            begun += 1

        yield on_table
