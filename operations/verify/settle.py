"""The comparison itself, over two sides and a barrier. Opens nothing: operations/verify/run.py says what the sides are.

1. A barrier: everything committed until now has landed.
2. Both sides of each table sum their rows' hashes, and what differs is narrowed to keys (operations/verify/locate.py).
3. Writes may have gone on meanwhile, so only the keys that differ are read, behind another barrier, until the deadline.
   A key that differs while its source row stood still is a difference. One that never stands still, or whose enriched
   columns alone differ while it waits for the catalog, is called unsettled.

What has aged out of reporting, or was erased there, is left out on both sides: retention may be between the two.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime

from operations.databases.database import batches
from operations.databases.scope import Group, Scope, key_of
from operations.databases.sides import Report, Side
from operations.verify.diff import Difference, differences, rows_by_key, waits
from operations.verify.locate import narrow
from schemas.change import Key, Row
from schemas.tables import Mode, Source, Table
from sinks.reporting.cutoff import TENANT, aged_rows
from sinks.reporting.staging import event_id

EVERYTHING = Scope()
MOST_KEYS = 10_000  # read at once; once differences are among them, the rest is only counted


@dataclass(frozen=True, slots=True, kw_only=True)
class TableResult:
    """One table's comparison: rows on each side and whose they are, what differs, and what could not be decided. So
    many further keys differed in their sums and were not read (`unread`), as enough differs already. Of the groups in
    `unexplained` the sums differ and no key does, which says that they are not equal and not why."""

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
        """Whether every row is the same on both sides."""
        return not self.different and not self.unsettled and not self.unexplained

    @property
    def undecided(self) -> int:
        """How many keys and groups could not be decided."""
        return len(self.unsettled) + len(self.unexplained)


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
    narrowed = {}
    for table in tables:
        on_table(table)
        cutoff = sides.report.cutoffs().get(table.retention or "")
        narrowed[table] = narrow(table, sides.source(table), sides.report, replace(scope, cutoff=cutoff))
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
    """What became of keys that differed once: the first `read` of them have been looked at again."""

    different: list[Difference] = field(default_factory=list)
    unsettled: list[Difference] = field(default_factory=list)
    read: int = 0


def settle(keys: Mapping[Table, Sequence[Key]], sides: Sides, end: float) -> Mapping[Table, Settled]:
    """Of rows that may still be on their way: what differs while its source row stood still, and what could not be
    decided until `end` (as `time.monotonic` has it). All tables share their barriers. Of so many keys that they are
    read in turns, the last ones are not, once something differs."""
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
    stood = {table: _by_key(table, _read(table, some, sides.source(table))) for table, some in keys.items()}
    different: dict[Table, list[Difference]] = {table: [] for table in keys}
    suspects: dict[Table, list[Difference]] = {}
    again = True
    while again:
        sides.barrier()
        suspects = {table: [] for table in keys}
        for table, some in keys.items():
            found = differing(table, sides, some)
            # Asked after the rows were read: whatever they show of retention's work, its cutoff was there before.
            left = retired(table, sides.report)
            for each in found:
                stood_still = each.source == stood[table].get(each.key) and not waits(each)
                if not left(each.source or each.report or ()):
                    (different if stood_still else suspects)[table].append(each)
        keys = {table: [each.key for each in found] for table, found in suspects.items() if found}
        stood = {table: {each.key: each.source for each in suspects[table]} for table in keys}
        again = bool(keys) and time.monotonic() < end
    return {table: (found, suspects.get(table, [])) for table, found in different.items()}


def _by_key(table: Table, rows: Iterable[Row]) -> dict[Key, Row | None]:
    return {key: found[0] for key, found in rows_by_key(table, rows).items()}


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
