"""The contract between retention and one generation of reporting.

There are three adapters: memory, Postgres and SQL Server. tests/contract/test_retiring.py runs against all of them.

Two rules keep deleted rows from coming back, and held rows from being deleted:

- The cutoff comes first. Every sink refuses the rows before they are deleted here, so no replay, zombie or rebuild puts
  them back. Setting a cutoff waits for transactions that have not seen it, so none of them lands afterwards.
- Each transaction that deletes reads the cutoff itself, under a lock: a legal hold that has been set is effective,
  whatever an older plan says.

Every call may be repeated: after Transient the outcome of the commit is unknown. Calls raise Transient when a retry may
help, and Fatal when only an operator can help (`sinks.reporting.port`).
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
    """One generation of reporting, for retention. Cutoffs and erased events belong to its database.

    Not safe for several threads at once. A lost connection is opened again.
    """

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
        """Yield the sorted ids of a tenant's events of a day. They are read by page; other calls may come between."""

    def retire_events(self, table: Table, day: date, proven: Mapping[str, Sum]) -> int:
        """Delete the day's events of exactly the tenants in `proven`, and return their number.

        One transaction compares the deleted events with those that are proven to be in the archive. A tenant without
        events on that day was processed before, and is skipped.

        Raises:
            Unproven: A tenant's events are not the proven ones. Nothing was deleted.
            NotCutOff: A sink would accept these events again.
        """

    def retire_rows(self, table: Table, month: date, held: Collection[str]) -> int:
        """Delete the rows of a state table of one month, of all tenants except those in `held`; return their number.

        The month of `table.ages_by` begins at `month`. Rows marked as deleted are included. Each batch is a
        transaction: when one fails, the batches before it stay deleted.

        Raises:
            NotCutOff: A sink would accept such rows again.
        """

    def purge_deleted(self, table: Table, keys: Iterable[Key]) -> int:
        """Delete the rows of these keys that are marked as deleted, and return their number.

        A row that isn't marked as deleted stays. The caller ensures that no sink accepts these keys again: their rows
        had aged out. It works in batches, as `retire_rows` does.
        """

    def purge_deleted_before(self, table: Table, before: date) -> int:
        """Delete the rows that are marked as deleted and whose date is before `before`, and return their number.

        The date is `table.ages_by`, or the day of the delete where that is null. Rows of held tenants stay, because
        their older inserts are not refused. It works in batches, as `retire_rows` does.

        Raises:
            NotCutOff: A sink would accept such rows again.
        """

    def erase_events(self, table: Table, tenant: str, ids: Iterable[str]) -> int:
        """Delete these events of a tenant from this generation, whatever their day, and return their number.

        No sink of this database inserts them again; it waits for transactions that might. It deletes all or nothing.
        """

    def repaired(self, table: Table) -> list[str]:
        """Return the rows that repairs removed from this table, in any generation of this database, as JSON objects."""

    def erase_repaired(self, table: Table, rows: Collection[str]) -> int:
        """Delete these from the rows that repairs have kept, and return their number."""

    def close(self) -> None:
        """Close the connection."""


class NotCutOff(HeadraceError):
    """The cutoff in reporting does not refuse the rows to delete: a replay could bring them back, or they are held.

    Nothing was deleted. Set the cutoff first, and leave out the tenants that it holds.
    """


def require_refused(table: Table, cutoffs: Mapping[str, Cutoff], day: date, tenants: Iterable[str]) -> None:
    """Raise NotCutOff unless sinks refuse rows of `day` of each of `tenants`."""
    cutoff = _cutoff(table, cutoffs)
    for tenant in tenants:
        if not cutoff.refuses(tenant, day):
            raise NotCutOff(f"{table.name} of {tenant} on {day}: {_stands(cutoff)}")


def require_cut_off(table: Table, cutoffs: Mapping[str, Cutoff], before: date, held: Collection[str]) -> Cutoff:
    """Return the table's cutoff; raise NotCutOff unless sinks refuse rows before `before` except those of `held`."""
    cutoff = _cutoff(table, cutoffs)
    if cutoff.before < before or cutoff.held.difference(held):
        raise NotCutOff(f"{table.name} before {before} but of {sorted(held)}: {_stands(cutoff)}")
    return cutoff


def require_proven(table: Table, day: date, found: Mapping[str, Sum], proven: Mapping[str, Sum]) -> int:
    """Return the number of `found` events by tenant; raise Unproven when a tenant's are not the `proven` ones."""
    for tenant, events in found.items():
        if events != proven.get(tenant, Sum()):
            expected = proven.get(tenant, Sum())
            raise Unproven(f"{table.name} of {tenant} on {day}: {events} would be deleted, {expected} are proven")
    return sum(events.count for events in found.values())


def next_month(month: date) -> date:
    """Return the first day after the month of `month`."""
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)


def _cutoff(table: Table, cutoffs: Mapping[str, Cutoff]) -> Cutoff:
    cutoff = cutoffs.get(table.retention or "")
    if cutoff is None or table.ages_by is None:
        raise NotCutOff(f"{table.name}: reporting has no cutoff for it; nothing was deleted")
    return cutoff


def _stands(cutoff: Cutoff) -> str:
    held = f", held: {', '.join(sorted(cutoff.held))}" if cutoff.held else ""
    return f"the cutoff in reporting is {cutoff.before}{held}; nothing was deleted"
