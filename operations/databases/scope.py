"""The rows of a table that a comparison covers: what was asked for, narrowed to a group, a range of keys, or keys.

No I/O. The queries of the databases say the same: operations/databases/queries.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date

from operations.months import month
from schemas.change import Key, Row, Value
from schemas.tables import Table
from sinks.reporting.cutoff import TENANT, Cutoff

Group = tuple[str, date | None]  # a tenant's month, by its first day; None where the row has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Rows of these tenants and months (each by its first day), or of the months from `since` on; None means all.
    Those whose keys lie behind `after`, up to `upto`; those of `keys`. Never what `cutoff` refuses.

    A row's month is that of the date by which it ages (`Table.ages_by`).
    """

    tenants: tuple[str, ...] | None = None
    months: tuple[date | None, ...] | None = None
    since: date | None = None
    cutoff: Cutoff | None = None
    after: Key | None = None
    upto: Key | None = None
    keys: tuple[Key, ...] | None = None

    def of_group(self, table: Table, group: Group) -> "Scope":
        """One group's part of these rows."""
        tenant, first = group
        return replace(self, tenants=(tenant,), months=(first,) if table.ages_by else None, since=None)

    def parts(self, bounds: Sequence[Key]) -> "list[Scope]":
        """Split this range of keys after each of `bounds`, which lie within it in their order."""
        starts, ends = [self.after, *bounds], [*bounds, self.upto]
        return [replace(self, after=after, upto=upto) for after, upto in zip(starts, ends, strict=True)]


def key_of(table: Table) -> Callable[[Row], Key]:
    """Return a function from a row, in the order of `table.all_columns`, to its key."""
    names = [column.name for column in table.all_columns]
    places = [names.index(name) for name in table.key]
    return lambda row: tuple([row[place] for place in places])


def group_of(table: Table) -> Callable[[Row], Group]:
    """Return a function from a row to its group."""
    names = [column.name for column in table.all_columns]
    tenant = names.index(TENANT)
    if table.ages_by is None:
        return lambda row: (str(row[tenant]), None)
    day = names.index(table.ages_by)
    return lambda row: (str(row[tenant]), _month(row[day]))


def within(table: Table, scope: Scope) -> Callable[[Row], bool]:
    """Return a function that tells whether the scope has a row, for rows that no database has selected."""
    key_at, group_at = key_of(table), group_of(table)
    keys = None if scope.keys is None else frozenset(scope.keys)

    def has(row: Row) -> bool:
        key, (tenant, first) = key_at(row), group_at(row)
        return (
            (scope.tenants is None or tenant in scope.tenants)
            and (scope.months is None or first in scope.months)
            and (scope.since is None or (first is not None and first >= scope.since))
            and (scope.cutoff is None or not scope.cutoff.refuses(tenant, _day(table, row)))
            and (scope.after is None or key > scope.after)
            and (scope.upto is None or key <= scope.upto)
            and (keys is None or key in keys)
        )

    return has


def _day(table: Table, row: Row) -> Value:
    names = [column.name for column in table.all_columns]
    return None if table.ages_by is None else row[names.index(table.ages_by)]


def _month(day: Value) -> date | None:
    return month(day) if isinstance(day, date) else None
