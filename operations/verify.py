"""`headrace verify`: every row of the sources against reporting, read from the databases themselves.

1. A barrier: everything committed until now has landed.
2. Each table is compared in full, both sides sorted by key. Enriched columns are computed anew from the catalog.
3. Writes may have gone on meanwhile, so only the keys that differ are read again, behind another barrier, until the
   deadline. A key that differs while its source row stood still is a difference. One that never stands still, or that
   waits for the catalog, is called unsettled.

What has aged out of reporting, or was erased there, is left out on both sides: retention may be between the two.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import filterfalse

import orjson
from rich.console import Console

from operations import connections
from operations.barrier import OnWait, catalog_time, cross
from operations.compare import Counts, Difference, differences
from operations.expected import EnrichedSource
from operations.rows import CatalogSource, PostgresSource, Report, Rows
from operations.settings import Settings
from schemas.change import Key, Row
from schemas.tables import Mode, Source, Table, reported
from sinks.cutoff import TENANT, aged_rows
from sinks.staging import event_id
from streams.enrich import Status

SHOWN = 20  # differences that are printed
KEYS_AT_ONCE = 200  # in one query: SQL Server takes 2,100 parameters


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """One table's comparison: rows seen on each side, what differs, and what could not be decided."""

    table: Table
    source: int
    report: int
    different: Sequence[Difference]
    unsettled: Sequence[Difference]

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


def compare(
    tables: Sequence[Table],
    source: Callable[[Table], Rows],
    report: Report,
    barrier: Callable[[], None],
    deadline_s: float,
) -> Result:
    """Compare `tables`; `barrier` returns when everything committed before its call has landed. What differs is read
    again at least once, and for up to `deadline_s` seconds while it is not settled."""
    began = time.monotonic()
    barrier()
    results = [_compare_table(table, source(table), report, barrier, began + deadline_s) for table in tables]
    return Result(tables=results, seconds=time.monotonic() - began)


def _compare_table(table: Table, source: Rows, report: Report, barrier: Callable[[], None], end: float) -> TableResult:
    counts = Counts()
    left = retired(table, report)
    there, here = (filterfalse(left, side.read(table)) for side in (source, report))
    suspects = list(differences(table, there, here, counts))
    different: list[Difference] = []
    again = bool(suspects)
    while again:
        stood: dict[Key, Row | None] = {suspect.key: suspect.source for suspect in suspects}
        barrier()
        found, suspects = list(_again(table, sorted(stood), source, report)), []
        # Asked after the rows were read: whatever they show of retention's work, its cutoff was there before.
        left = retired(table, report)
        for each in found:
            settled = each.source == stood[each.key] and not waits(each)
            if not left(each.source or each.report or ()):
                (different if settled else suspects).append(each)
        again = bool(suspects) and time.monotonic() < end
    return TableResult(table=table, source=counts.source, report=counts.report, different=different, unsettled=suspects)


def _again(table: Table, keys: Sequence[Key], source: Rows, report: Rows) -> Iterator[Difference]:
    for start in range(0, len(keys), KEYS_AT_ONCE):
        some = keys[start : start + KEYS_AT_ONCE]
        # The report first: a row that lands between the two reads must look old, not the source.
        landed = list(report.read(table, some))
        yield from differences(table, source.read(table, some), landed)


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
    """Compare every reported table with a generation of reporting, by default the live one. Raises Unavailable when the
    line does not catch up within `deadline_s`."""
    hops = connections.hops(settings, generation)
    catalog = CatalogSource(hops.catalog)
    postgres = EnrichedSource(PostgresSource(hops.oltp), catalog, now=lambda: catalog_time(hops))
    return compare(
        reported(hops.line.tables),
        source=lambda table: catalog if table.source is Source.MONGODB else postgres,
        report=hops.report,
        barrier=lambda: cross(hops, deadline_s=deadline_s, on_wait=on_wait),
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
