"""Find the keys that differ by bisection of sums of hashes. No I/O of its own.

Few rows are read, as only parts that differ are read further.

1. Both sides sum their groups (a tenant's month), at the same time. Equal sums mean equal rows.
2. A large group that differs is cut at keys into parts, repeatedly; only parts that differ are cut further.
3. For small groups both sides list keys and hashes, many groups in one query.
4. A group in which no key differs has either changed meanwhile, or its sums are unexplained. It is never called equal.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import TypeVar

from operations.databases.scope import Group, Scope
from operations.databases.sides import Side
from schemas.change import Key
from schemas.checksums import Sum
from schemas.tables import Table
from sinks.reporting.cutoff import TENANT

LISTED = 5_000  # rows whose hashes are listed at once, rather than cut further
FANOUT = 16  # parts that a range of keys is cut into
TENANTS_AT_ONCE = 500  # in one query: SQL Server takes 2,100 parameters

Found = TypeVar("Found")
_Listing = tuple[date | None, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """The number of rows on each side, their tenants, the keys that may differ, and the unexplained groups.

    A group is unexplained when its sums differ, no key does, and its sums have not changed since.
    """

    source: int
    report: int
    tenants: AbstractSet[str]
    keys: Sequence[Key]
    unexplained: Sequence[Group]


def locate(table: Table, source: Side, report: Side, scope: Scope) -> Located:
    """Return the keys of a scope whose rows differed when they were read, each side at its own moment."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        both = _Both(source, report, thread)
        there, here = both(partial(_sums, table, scope))
        rows = {
            group: max(there.get(group, Sum()).count, here.get(group, Sum()).count)
            for group in there.keys() | here.keys()
            if there.get(group) != here.get(group)
        }
        keys: set[Key] = set()
        open_ = set(rows)
        for part in _parts(table, scope, rows, both):
            left, right = both(partial(_hashes, table, part))
            found = {key for key in left.keys() | right.keys() if left.get(key) != right.get(key)}
            keys |= found
            open_ -= _groups(table, part, found)
        unexplained = [
            group
            for group, now in _again(table, scope, {group: rows[group] for group in open_}, both)
            if now == (there.get(group, Sum()), here.get(group, Sum()))
        ]
    return Located(
        source=_count(there),
        report=_count(here),
        tenants=frozenset(tenant for tenant, _ in there.keys() | here.keys()),
        keys=sorted(keys),
        unexplained=sorted(unexplained, key=str),
    )


class _Both:
    """Ask both sides the same question at the same time."""

    def __init__(self, source: Side, report: Side, thread: Executor) -> None:
        self._source, self._report, self._thread = source, report, thread

    def __call__(self, ask: Callable[[Side], Found]) -> tuple[Found, Found]:
        there = self._thread.submit(ask, self._source)
        here = ask(self._report)
        return there.result(), here


def _sums(table: Table, scope: Scope, side: Side) -> dict[Group, Sum]:
    return side.sums(table, scope)


def _hashes(table: Table, scope: Scope, side: Side) -> dict[Key, int]:
    return side.hashes(table, scope)


def _again(table: Table, scope: Scope, rows: dict[Group, int], both: _Both) -> Iterator[tuple[Group, tuple[Sum, Sum]]]:
    """Yield the present sums of these groups on both sides."""
    for first, tenants in _listings(rows):
        part = _together(table, scope, first, tenants)
        there, here = both(partial(_sums, table, part))
        for group in ((tenant, first) for tenant in tenants):
            yield group, (there.get(group, Sum()), here.get(group, Sum()))


def _groups(table: Table, part: Scope, keys: Iterable[Key]) -> set[Group]:
    """Return the groups of these keys of a part; a part has one month."""
    tenant = table.key.index(TENANT)
    return {(str(key[tenant]), part.months[0] if part.months else None) for key in keys}


def _parts(table: Table, scope: Scope, rows: dict[Group, int], both: _Both) -> Iterator[Scope]:
    """Yield the parts of these groups whose keys are to be listed; `rows` has the number of rows of each group."""
    small = {group: count for group, count in rows.items() if count <= LISTED}
    for first, tenants in _listings(small):
        yield _together(table, scope, first, tenants)
    for group, count in rows.items():
        if group not in small:
            yield from _cut(table, scope.of_group(table, group), count, both)


def _together(table: Table, scope: Scope, first: date | None, tenants: Sequence[str]) -> Scope:
    """Return the scope of one month of several tenants."""
    return replace(scope.of_group(table, (tenants[0], first)), tenants=tuple(tenants))


def _cut(table: Table, scope: Scope, rows: int, both: _Both) -> Iterator[Scope]:
    if rows <= LISTED:
        yield scope
        return
    step = -(-rows // FANOUT)
    bounds = max(both(lambda side: side.bounds(table, scope, step)), key=len)
    there, here = both(lambda side: side.parts(table, scope, bounds))
    for part, left, right in zip(scope.parts(bounds), there, here, strict=True):
        if left != right:
            yield from _cut(table, part, max(left.count, right.count), both)


def _listings(rows: dict[Group, int]) -> Iterator[_Listing]:
    """Yield groups to be listed in one query: of one month, with a limited number of rows and tenants."""
    for first in sorted({first for _, first in rows}, key=str):
        tenants: list[str] = []
        listed = 0
        for tenant, count in sorted((tenant, rows[tenant, first]) for tenant, month in rows if month == first):
            if tenants and (listed + count > LISTED or len(tenants) == TENANTS_AT_ONCE):
                yield first, tenants
                tenants, listed = [], 0
            tenants.append(tenant)
            listed += count
        if tenants:
            yield first, tenants


def _count(sums: dict[Group, Sum]) -> int:
    return sum(each.count for each in sums.values())
