"""Compare two sides, with a barrier between reads. No I/O of its own: operations/verify/run.py supplies the sides.

1. A barrier: everything that was committed before it has landed.
2. Both sides of each table sum the hashes of their rows. Bisection narrows different sums to keys
   (operations/verify/locate.py).
3. Writes may have continued meanwhile. So only the keys that differ are read again, each time behind another barrier,
   until the deadline. A key that differs while its source row has not changed is a difference. It is unsettled if its
   source row changes every time, or if it waits for the catalog and only enriched columns differ.

Rows that have passed their retention period, and erased events, are left out on both sides: retention may have deleted
them from one side and not yet from the other.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from operations.databases.database import batches
from operations.databases.scope import Group, Scope, key_of
from operations.databases.sides import Report, Side
from operations.verify.diff import Difference, differences, is_awaiting_enrichment, rows_by_key
from operations.verify.locate import locate
from schemas.change import Key, Row
from schemas.tables import Mode, Source, Table
from sinks.reporting.cutoff import TENANT, aged_rows
from sinks.reporting.staging import event_id

EVERYTHING = Scope()
MOST_KEYS = 10_000  # read in one batch; once it has differences, further keys are only counted


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """One table's comparison.

    `source` and `report` are numbers of rows, `tenants` the tenants on either side. `different` are the differences,
    `unsettled` the keys that could not be decided. `unread` counts further keys whose sums differ and that were not
    read, since enough rows differ already. `unexplained` are groups whose sums differ although no key does: they are
    not equal, for an unknown reason.
    """

    table: Table
    source: int
    report: int
    tenants: AbstractSet[str]
    different: Sequence[Difference]
    unsettled: Sequence[Difference]
    unread: int = 0
    unexplained: Sequence[Group] = ()

    @property
    def equal(self) -> bool:
        """True when every row is the same on both sides."""
        return not self.different and not self.unsettled and not self.unexplained

    @property
    def undecided(self) -> int:
        """The number of keys and groups that could not be decided."""
        return len(self.unsettled) + len(self.unexplained)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The comparison of all tables.

    `seconds` is its duration. `through` has the time, by each source's own clock, before which every commit had landed
    when the comparison began.
    """

    tables: Sequence[TableResult]
    seconds: float
    through: Mapping[Source, datetime]

    @property
    def equal(self) -> bool:
        """True when reporting equals the sources, row by row."""
        return all(table.equal for table in self.tables)

    @property
    def different(self) -> bool:
        """True when a row is known to differ. A result may be neither equal nor different: then it is undecided."""
        return any(table.different for table in self.tables)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sides:
    """The two sides of a comparison: each table's source, and reporting.

    `barrier` returns once everything that was committed before its call has landed. It returns the time of its call, by
    each source's own clock.
    """

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
    """Compare the rows of `tables` that are in `scope`.

    Rows that differ are read at least twice, and again for up to `deadline_s` seconds while they are unsettled.
    `on_table` is called with each table when its comparison begins.
    """
    began = time.monotonic()
    through = sides.barrier()
    narrowed = {}
    for table in tables:
        on_table(table)
        cutoff = sides.report.cutoffs().get(table.retention or "")
        narrowed[table] = locate(table, sides.source(table), sides.report, replace(scope, cutoff=cutoff))
    settled = settle({table: found.keys for table, found in narrowed.items()}, sides, began + deadline_s)
    results = [
        TableResult(
            table=table,
            source=found.source,
            report=found.report,
            tenants=found.tenants,
            different=settled[table].different,
            unsettled=settled[table].unsettled,
            unread=len(found.keys) - settled[table].read,
            unexplained=found.unexplained,
        )
        for table, found in narrowed.items()
    ]
    return Result(tables=results, seconds=time.monotonic() - began, through=through)


@dataclass(slots=True)
class Settled:
    """The outcome for keys that differed once; the first `read` of them have been read again."""

    different: list[Difference] = field(default_factory=list)
    unsettled: list[Difference] = field(default_factory=list)
    read: int = 0


def settle(keys: Mapping[Table, Sequence[Key]], sides: Sides, end: float) -> Mapping[Table, Settled]:
    """Read keys that differed again, until each is a difference, equal, or the time is over.

    All tables share their barriers. Keys are read in batches of `MOST_KEYS`; the remaining batches of a table are not
    read once one of its rows differs.

    Args:
        keys: The keys that differed, by table.
        sides: The sides to read.
        end: When to give up, as `time.monotonic` measures it. Keys that are still undecided then are unsettled.
    """
    settled = {table: Settled() for table in keys}
    while left := {
        table: some
        for table, each in keys.items()
        if not settled[table].different and (some := each[settled[table].read :][:MOST_KEYS])
    }:
        for table, some in left.items():
            settled[table].read += len(some)
        for table, (different, unsettled) in _settle(left, sides, end).items():
            settled[table].different += different
            settled[table].unsettled += unsettled
    return settled


def _settle(
    keys: Mapping[Table, Sequence[Key]], sides: Sides, end: float
) -> Mapping[Table, tuple[list[Difference], list[Difference]]]:
    before = {table: _by_key(table, _read(table, some, sides.source(table))) for table, some in keys.items()}
    different: dict[Table, list[Difference]] = {table: [] for table in keys}
    suspects: dict[Table, list[Difference]] = {}
    again = True
    while again:
        sides.barrier()
        suspects = {table: [] for table in keys}
        for table, some in keys.items():
            found = read_differences(table, sides, some)
            # Read after the rows: if they show a deletion by retention, its cutoff was set before.
            retired = is_retired(table, sides.report)
            for each in found:
                unchanged = each.source == before[table].get(each.key) and not is_awaiting_enrichment(each)
                if not retired(each.source or each.report or ()):
                    (different if unchanged else suspects)[table].append(each)
        keys = {table: [each.key for each in found] for table, found in suspects.items() if found}
        before = {table: {each.key: each.source for each in suspects[table]} for table in keys}
        again = bool(keys) and time.monotonic() < end
    return {table: (found, suspects.get(table, [])) for table, found in different.items()}


def _by_key(table: Table, rows: Iterable[Row]) -> dict[Key, Row | None]:
    return {key: found[0] for key, found in rows_by_key(table, rows).items()}


def read_differences(table: Table, sides: Sides, keys: Sequence[Key]) -> list[Difference]:
    """Return the rows of these keys that differ now."""
    # Reporting first: a row that lands between the two reads must make reporting look old, not the source.
    landed = list(_read(table, keys, sides.report))
    return list(differences(table, _read(table, keys, sides.source(table)), landed))


def _read(table: Table, keys: Sequence[Key], side: Side) -> Iterator[Row]:
    place = key_of(table)
    for some in batches(keys):
        # For SQL Server 'a' equals 'a '.
        yield from (row for row in side.rows(table, Scope(keys=some)) if place(row) in some)


def is_retired(table: Table, report: Report) -> Callable[[Row], bool]:
    """Return a function from a row to whether retention has deleted it or is about to, by what reporting knows now."""
    aged = aged_rows(table, report.cutoffs())
    if table.mode is not Mode.EVENT or not (erased := report.erased()):
        return aged
    names = [column.name for column in table.all_columns]
    tenant, event = names.index(TENANT), names.index(event_id(table))
    return lambda row: aged(row) or (row[tenant], row[event]) in erased
