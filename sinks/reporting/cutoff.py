"""What has aged out: rows that reporting has let go, or is about to, and that no replay may bring back.

Opens nothing. Sinks split their batches by it, retention sets it, and verification leaves out what it refuses.
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
    """Rows of tables of one `part` of the retention policy (`Table.retention`) whose day (`Table.ages_by`) lies before
    `before` are refused; those of the tenants in `held` are not: a legal hold keeps them."""

    part: str
    before: date
    held: frozenset[str] = frozenset()

    def refuses(self, tenant: Value, day: Value) -> bool:
        """Whether a row of this tenant and day has aged out. One whose day isn't known has not."""
        return isinstance(day, date) and day < self.before and tenant not in self.held

    def held_text(self) -> str:
        """`held` as the databases store it: a JSON array, sorted."""
        return orjson.dumps(sorted(self.held)).decode()


def cutoffs_of(rows: Iterable[Sequence[Any]]) -> dict[str, Cutoff]:
    """Part → cutoff, from rows of (part, before, held) as the databases store them."""
    return {part: Cutoff(part, before, frozenset(orjson.loads(held))) for part, before, held in rows}


def split(changes: Sequence[Change], cutoffs: Mapping[str, Cutoff]) -> tuple[Sequence[Change], Sequence[Change]]:
    """`changes` in their order, as (those that may land, those that have aged out).

    A delete has its key alone: where the key doesn't tell the day, the delete may land.
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
    """A function from a row of `table`, in the order of its columns, to whether it has aged out."""
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
