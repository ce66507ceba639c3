"""Cutoffs: dates before which reporting refuses rows, so that no replay brings back what retention deletes.

No I/O. Sinks split their batches by it, retention sets it, and verification leaves out the refused rows.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson

from schemas.change import Change, Row, Value
from schemas.tables import Table

TENANT = "tenant_id"  # in the key of every table


@dataclass(frozen=True, slots=True)
class Cutoff:
    """The cutoff of the tables of one `part` of the retention policy (`Table.retention`).

    Rows whose day (`Table.ages_by`) is before `before` are refused, except those of the tenants in `held`: a legal hold
    keeps them.
    """

    part: str
    before: date
    held: frozenset[str] = frozenset()

    def refuses(self, tenant: Value, day: Value) -> bool:
        """Return whether a row of this tenant and day has aged out. A row without a known day has not."""
        return isinstance(day, date) and day < self.before and tenant not in self.held

    def held_text(self) -> str:
        """Return `held` as the databases store it: a sorted JSON array."""
        return orjson.dumps(sorted(self.held)).decode()


def cutoffs_of(rows: Iterable[Sequence[Any]]) -> dict[str, Cutoff]:
    """Return part → cutoff from the stored rows (part, before, held)."""
    return {part: Cutoff(part, before, frozenset(orjson.loads(held))) for part, before, held in rows}


def split(changes: Sequence[Change], cutoffs: Mapping[str, Cutoff]) -> tuple[Sequence[Change], Sequence[Change]]:
    """Split `changes`, in order, into those that may land and those that have aged out.

    A delete has only its key. If the key doesn't contain the day, the delete may land.
    """
    if not cutoffs:
        return changes, ()
    rules: dict[str, Callable[[Change], bool]] = {}
    kept: list[Change] = []
    refused: list[Change] = []
    for change in changes:
        name = change.table.name
        if name not in rules:
            rules[name] = _rule(change.table, cutoffs)
        (refused if rules[name](change) else kept).append(change)
    return kept, refused


def aged_rows(table: Table, cutoffs: Mapping[str, Cutoff]) -> Callable[[Row], bool]:
    """Return a predicate for rows of `table`, in the order of its columns, that have aged out."""
    cutoff = cutoffs.get(table.retention or "")
    if cutoff is None or table.ages_by is None:
        return _never
    names = [column.name for column in table.all_columns]
    tenant, day = names.index(TENANT), names.index(table.ages_by)
    return lambda row: cutoff.refuses(row[tenant], row[day])


def _rule(table: Table, cutoffs: Mapping[str, Cutoff]) -> Callable[[Change], bool]:
    cutoff = cutoffs.get(table.retention or "")
    if cutoff is None or table.ages_by is None:
        return _never
    tenant = table.key.index(TENANT)
    if table.ages_by in table.key:
        in_key = table.key.index(table.ages_by)
        return lambda change: cutoff.refuses(change.key[tenant], change.key[in_key])
    aged = aged_rows(table, cutoffs)
    return lambda change: change.row is not None and aged(change.row)


def _never(_of_anything: object) -> bool:
    return False
