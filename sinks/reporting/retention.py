"""What retention asks of one generation of reporting. Adapters: memory, Postgres and SQL Server, held to this by
tests/contract/test_retiring.py.

Two rules keep what has gone from coming back, and what must stay from going:

- The cutoff comes first. What is deleted here is refused by every sink before it goes, so no replay, zombie or rebuild
  puts it back; and setting a cutoff waits for transactions that have not seen it, so none lands behind it.
- Each transaction that deletes reads the cutoff itself, and nobody changes it meanwhile: a legal hold that has been set
  holds, whatever an older plan says.

Every call may be repeated: after Transient nobody knows whether the commit came through, and nobody has to. Calls raise
Transient when they are worth another try, and Fatal when only an operator can help (`sinks.reporting.port`).
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import date
from typing import Protocol

from schemas.change import Key
from schemas.checksums import Sum
from schemas.errors import HeadraceError, Unproven
from schemas.tables import Table
from sinks.reporting.cutoff import Cutoff

BATCH = 2_000  # rows deleted by one statement: SQL Server locks the whole table at 5,000
PAGE = 10_000  # event ids or keys that travel at once
Sums = dict[tuple[date, str], Sum]  # (day, tenant) → events


class RetentionStore(Protocol):
    """One generation of reporting, as retention reaches it. Cutoffs and erased events are those of its database. Not
    for use by several threads at once; a lost connection is made anew."""

    @property
    def generation(self) -> int:
        """The number of this generation."""

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """Part of the policy → its cutoff, as it is committed now."""

    def set_cutoff(self, cutoff: Cutoff) -> None:
        """From the return on, every sink of this database refuses what `cutoff` refuses, and what sinks had landed
        before is committed. `before` never goes back: an earlier one leaves it as it is. `held` is replaced.
        """

    def event_sums(self, table: Table, before: date, held: Collection[str]) -> Sums:
        """Count and sum of hashes (checksums.py) of the event ids of each day before `before` and each tenant that
        is not in `held`. A day and tenant without events isn't there."""

    def event_ids(self, table: Table, day: date, tenant: str) -> Iterator[str]:
        """The ids of a tenant's events of a day, sorted; read page by page, so other calls may go between."""

    def retire_events(self, table: Table, day: date, proven: Mapping[str, Sum]) -> int:
        """Deletes the day's events of exactly the tenants in `proven`, and returns how many, in one transaction that
        compares what it deletes with what is proven to be in the archive. A tenant with no events left that day has
        been dealt with before, and is passed over.

        Raises Unproven, and deletes nothing, when what a tenant has is not what is proven; NotCutOff when a sink would
        let these events in again.
        """

    def retire_rows(self, table: Table, month: date, held: Collection[str]) -> int:
        """Deletes the rows of a state table whose `table.ages_by` lies in the month that begins at `month`, deleted
        ones included, of all tenants but those in `held`; returns how many. A batch is a transaction: when one fails,
        those before it are gone. Raises NotCutOff when a sink would let such rows in again.
        """

    def forget(self, table: Table, keys: Iterable[Key]) -> int:
        """Deletes what is left of rows that were deleted at the source, where they have one of these keys, and returns
        how many. A row that isn't marked as deleted stays. The caller knows that no sink lets these keys in again:
        their rows had aged out. In batches, as `retire_rows`.
        """

    def sweep(self, table: Table, before: date) -> int:
        """Deletes what is left of rows that were deleted at the source and whose date lies before `before`: their
        `table.ages_by`, or, where a delete left that null, the day of the delete. Returns how many. Held tenants' stay:
        older inserts of theirs are not refused. In batches, as `retire_rows`. Raises NotCutOff.
        """

    def erase_events(self, table: Table, tenant: str, ids: Iterable[str]) -> int:
        """Deletes these events of a tenant from this generation, whatever their day, and returns how many. No sink of
        this database inserts them again; transactions that might are waited for. All of it or nothing.
        """

    def repaired(self, table: Table) -> list[str]:
        """What repairs have taken out of this table, in any generation of this database: rows, as the JSON objects that
        they are kept as."""

    def erase_repaired(self, table: Table, rows: Collection[str]) -> int:
        """Deletes these from what repairs have kept, and returns how many."""

    def close(self) -> None:
        """Closes the connection."""


class NotCutOff(HeadraceError):
    """What was to be deleted is not refused by the cutoff in reporting, so a replay could bring it back, or a legal
    hold keeps it. Nothing was deleted: set the cutoff first, and leave out the tenants that it holds."""


def require_refused(table: Table, cutoffs: Mapping[str, Cutoff], day: date, tenants: Iterable[str]) -> None:
    """Raises NotCutOff unless sinks refuse rows of `day` of each of `tenants`."""
    cutoff = _cutoff(table, cutoffs)
    for tenant in tenants:
        if not cutoff.refuses(tenant, day):
            raise NotCutOff(f"{table.name} of {tenant} on {day}: {_stands(cutoff)}")


def require_cut_off(table: Table, cutoffs: Mapping[str, Cutoff], before: date, held: Collection[str]) -> Cutoff:
    """The table's cutoff. Raises NotCutOff unless sinks refuse all rows before `before` but those of `held`."""
    cutoff = _cutoff(table, cutoffs)
    if cutoff.before < before or cutoff.held.difference(held):
        raise NotCutOff(f"{table.name} before {before} but of {sorted(held)}: {_stands(cutoff)}")
    return cutoff


def require_proven(table: Table, day: date, found: Mapping[str, Sum], proven: Mapping[str, Sum]) -> int:
    """How many events were `found`, by tenant. Raises Unproven when a tenant's are not those that are `proven`."""
    for tenant, events in found.items():
        if events != proven.get(tenant, Sum()):
            expected = proven.get(tenant, Sum())
            raise Unproven(f"{table.name} of {tenant} on {day}: {events} would leave, {expected} are proven")
    return sum(events.count for events in found.values())


def next_month(month: date) -> date:
    """The first day after the month of `month`."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _cutoff(table: Table, cutoffs: Mapping[str, Cutoff]) -> Cutoff:
    cutoff = cutoffs.get(table.retention or "")
    if cutoff is None or table.ages_by is None:
        raise NotCutOff(f"{table.name}: reporting has no cutoff for it; nothing was deleted")
    return cutoff


def _stands(cutoff: Cutoff) -> str:
    held = f", held: {', '.join(sorted(cutoff.held))}" if cutoff.held else ""
    return f"the cutoff in reporting stands at {cutoff.before}{held}; nothing was deleted"
