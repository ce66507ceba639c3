"""`headrace verify`: the sources against reporting, asked of the databases themselves.

1. A barrier: everything committed until now has landed.
2. Both sides of each table sum their rows' hashes, and what differs is narrowed to keys (operations/narrow.py).
   Enriched columns are computed anew from the catalog.
3. Writes may have gone on meanwhile, so only the keys that differ are read, behind another barrier, until the deadline.
   A key that differs while its source row stood still is a difference. One that never stands still, or that waits for
   the catalog, is called unsettled.

What has aged out of reporting, or was erased there, is left out on both sides: retention may be between the two.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import orjson
from rich.console import Console

from operations import connections
from operations.barrier import OnWait, catalog_time, cross
from operations.compare import Difference, differences
from operations.expected import EnrichedSource
from operations.narrow import narrow
from operations.rows import CatalogSource, PostgresSource, Report, Side
from operations.scope import Scope, key_of
from operations.settings import Settings
from schemas.change import Key, Row
from schemas.tables import Mode, Source, Table, reported
from sinks.cutoff import TENANT, aged_rows
from sinks.staging import event_id
from streams.enrich import Status

SHOWN = 20  # differences that are printed
KEYS_AT_ONCE = 200  # in one query: SQL Server takes 2,100 parameters
EVERYTHING = Scope()
MOST_KEYS = 10_000  # read at once; once differences are among them, the rest is only counted


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """One table's comparison: rows on each side, what differs, and what could not be decided. So many further keys
    differed in their sums and were not read (`unread`), as enough differs already."""

    table: Table
    source: int
    report: int
    different: Sequence[Difference]
    unsettled: Sequence[Difference]
    unread: int = 0

    @property
    def equal(self) -> bool:
        """Whether every row is the same on both sides."""
        return not self.different and not self.unsettled


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All tables' comparisons, and how many seconds they took."""

    tables: Sequence[TableResult]
    seconds: float

    @property
    def equal(self) -> bool:
        """Whether reporting equals the sources, row by row."""
        return all(table.equal for table in self.tables)

    @property
    def different(self) -> bool:
        """Whether a row is known to differ; neither equal nor different: it could not be decided."""
        return any(table.different for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """What is compared: each table's source, and reporting. `barrier` returns when everything committed before its call
    has landed."""

    source: Callable[[Table], Side]
    report: Report
    barrier: Callable[[], object]


def compare(
    tables: Sequence[Table],
    sides: Sides,
    *,
    deadline_s: float,
    scope: Scope = EVERYTHING,
    on_table: Callable[[Table], None] = lambda _: None,
) -> Result:
    """Compare the rows of `tables` that are in `scope`. What differs is read at least twice, and again for up to
    `deadline_s` seconds while it is not settled. `on_table` hears of each table that is begun."""
    began = time.monotonic()
    sides.barrier()
    results = []
    for table in tables:
        on_table(table)
        results.append(_compare_table(table, sides, began + deadline_s, scope))
    return Result(tables=results, seconds=time.monotonic() - began)


def _compare_table(table: Table, sides: Sides, end: float, scope: Scope) -> TableResult:
    scope = replace(scope, cutoff=sides.report.cutoffs().get(table.retention or ""))
    narrowed = narrow(table, sides.source(table), sides.report, scope)
    different: list[Difference] = []
    unsettled: list[Difference] = []
    keys = narrowed.keys
    while keys and not different:
        differ, waiting = settle(table, sides, keys[:MOST_KEYS], end)
        different += differ
        unsettled += waiting
        keys = keys[MOST_KEYS:]
    return TableResult(
        table=table,
        source=narrowed.source,
        report=narrowed.report,
        different=different,
        unsettled=unsettled,
        unread=len(keys),
    )


def settle(table: Table, sides: Sides, keys: Sequence[Key], end: float) -> tuple[list[Difference], list[Difference]]:
    """Of rows that may still be on their way: what differs while its source row stood still, and what could not be
    decided until `end` (as `time.monotonic` has it)."""
    source, place = sides.source(table), key_of(table)
    stood: dict[Key, Row | None] = {place(row): row for row in _read(table, keys, source)}
    different: list[Difference] = []
    suspects: list[Difference] = []
    again = True
    while again:
        sides.barrier()
        found, suspects = differing(table, sides, keys), []
        # Asked after the rows were read: whatever they show of retention's work, its cutoff was there before.
        left = retired(table, sides.report)
        for each in found:
            settled = each.source == stood.get(each.key) and not waits(each)
            if not left(each.source or each.report or ()):
                (different if settled else suspects).append(each)
        keys, stood = [suspect.key for suspect in suspects], {suspect.key: suspect.source for suspect in suspects}
        again = bool(suspects) and time.monotonic() < end
    return different, suspects


def differing(table: Table, sides: Sides, keys: Sequence[Key]) -> list[Difference]:
    """What differs now among the rows of these keys."""
    # The report first: a row that lands between the two reads must look old, not the source.
    landed = list(_read(table, keys, sides.report))
    return list(differences(table, _read(table, keys, sides.source(table)), landed))


def _read(table: Table, keys: Sequence[Key], side: Side) -> Iterator[Row]:
    place = key_of(table)
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = tuple(keys[start : start + KEYS_AT_ONCE])
        # For SQL Server 'a' equals 'a '.
        yield from (row for row in side.rows(table, Scope(keys=some)) if place(row) in some)


def retired(table: Table, report: Report) -> Callable[[Row], bool]:
    """A function from a row to whether retention has let it go, or is about to, as reporting knows it now."""
    aged = aged_rows(table, report.cutoffs())
    if table.mode is not Mode.EVENT or not (erased := report.erased()):
        return aged
    names = [column.name for column in table.all_columns]
    tenant, event = names.index(TENANT), names.index(event_id(table))
    return lambda row: aged(row) or (row[tenant], row[event]) in erased


def verify(
    settings: Settings, *, deadline_s: float, on_wait: OnWait = lambda _: None, generation: int | None = None
) -> Result:
    """Compare every reported table with a generation of reporting: by default with the one that the settings name.
    Raises Unavailable when the line does not catch up within `deadline_s`."""
    hops = connections.hops(settings if generation is None else settings.of_generation(generation))
    postgres, catalog = PostgresSource(hops.oltp), CatalogSource(hops.catalog)
    enriched = EnrichedSource(postgres, catalog, now=lambda: catalog_time(hops))

    def source(table: Table) -> Side:
        if table.source is Source.MONGODB:
            return catalog
        return enriched if table.enrichment else postgres

    return compare(
        reported(hops.line.tables),
        Sides(
            source=source,
            report=hops.report,
            barrier=lambda: cross(hops, deadline_s=deadline_s, on_wait=on_wait),
        ),
        deadline_s=deadline_s,
    )


def waits(found: Difference) -> bool:
    """Whether reporting itself says that the row's enrichment is not decided yet."""
    if not found.table.enrichment or found.report is None:
        return False
    names = [column.name for column in found.table.all_columns]
    return found.report[names.index("enrichment_status")] != Status.ENRICHED


def show(result: Result, out: Console, *, json: bool) -> None:
    """Print the comparison: a line a table, the first differences in full, and the verdict."""
    if json:
        out.print_json(orjson.dumps(_plain(result)).decode())
        return
    for each in result.tables:
        verdict = "equal" if each.equal else f"{len(each.different)} different, {len(each.unsettled)} unsettled"
        out.print(
            f"      {each.table.name:14}{each.source:>9,} rows in the source{each.report:>9,} in reporting   {verdict}"
        )
    found = [str(line) for each in result.tables for line in each.different]
    found += [f"unsettled: {line}" for each in result.tables for line in each.unsettled]
    for line in found[:SHOWN]:
        out.print(f"      {line}", markup=False, soft_wrap=True)
    if len(found) > SHOWN:
        out.print(f"      and {len(found) - SHOWN} more")
    verdict = "equal" if result.equal else "NOT EQUAL" if result.different else "NOT DECIDED"
    out.print(f"{verdict}, every row compared in {result.seconds:.1f} s")


def _plain(result: Result) -> dict[str, object]:
    return {
        "equal": result.equal,
        "seconds": round(result.seconds, 3),
        "tables": {
            each.table.name: {
                "source": each.source,
                "report": each.report,
                "different": [str(line) for line in each.different],
                "unsettled": [str(line) for line in each.unsettled],
            }
            for each in result.tables
        },
    }
