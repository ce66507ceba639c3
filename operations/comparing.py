"""The comparison itself, over two sides and a barrier. Opens nothing: operations/verify.py says what the sides are.

1. A barrier: everything committed until now has landed.
2. Both sides of each table sum their rows' hashes, and what differs is narrowed to keys (operations/narrow.py).
3. Writes may have gone on meanwhile, so only the keys that differ are read, behind another barrier, until the deadline.
   A key that differs while its source row stood still is a difference. One that never stands still, or that waits for
   the catalog, is called unsettled.

What has aged out of reporting, or was erased there, is left out on both sides: retention may be between the two.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime

from operations.compare import Difference, differences
from operations.narrow import narrow
from operations.rows import Report, Side, batches
from operations.scope import Scope, key_of
from schemas.change import Key, Row
from schemas.tables import Mode, Source, Table
from sinks.cutoff import TENANT, aged_rows
from sinks.staging import event_id
from streams.enrich import Status

EVERYTHING = Scope()
MOST_KEYS = 10_000  # read at once; once differences are among them, the rest is only counted


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """One table's comparison: rows on each side and whose they are, what differs, and what could not be decided. So
    many further keys differed in their sums and were not read (`unread`), as enough differs already."""

    table: Table
    source: int
    report: int
    tenants: AbstractSet[str]
    different: Sequence[Difference]
    unsettled: Sequence[Difference]
    unread: int = 0

    @property
    def equal(self) -> bool:
        """Whether every row is the same on both sides."""
        return not self.different and not self.unsettled


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All tables' comparisons, how many seconds they took, and the moment, by each source's own clock, up to which
    everything in it had landed when they began."""

    tables: Sequence[TableResult]
    seconds: float
    through: Mapping[Source, datetime]

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
    has landed, and says when that was, by each source's own clock."""

    source: Callable[[Table], Side]
    report: Report
    barrier: Callable[[], Mapping[Source, datetime]]


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
    through = sides.barrier()
    results = []
    for table in tables:
        on_table(table)
        results.append(_compare_table(table, sides, began + deadline_s, scope))
    return Result(tables=results, seconds=time.monotonic() - began, through=through)


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
        tenants=narrowed.tenants,
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
    for some in batches(keys):
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


def waits(found: Difference) -> bool:
    """Whether reporting itself says that the row's enrichment is not decided yet."""
    if not found.table.enrichment or found.report is None:
        return False
    names = [column.name for column in found.table.all_columns]
    return found.report[names.index("enrichment_status")] != Status.ENRICHED
