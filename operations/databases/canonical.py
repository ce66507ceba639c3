"""Rows and their places as both databases must show them. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal

from schemas.change import Row, Value
from schemas.position import Position
from schemas.tables import Source, Table
from schemas.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The place where a row of reporting has landed.

    Its position, the change's commit time at the source, and whether the change was a delete. `record` is the topic and
    partition whose record at this offset has the row's key, None where there is no such record.
    """

    position: Position
    source_time: datetime
    deleted: bool
    record: tuple[str, int] | None = None

    def describe(self, source: Source) -> str:
        """Return the place in words, with the LSN of a change of Postgres (one of `Position.log`)."""
        at = self.position
        where = f" of {self.record[0]}[{self.record[1]}]" if self.record else ""
        lsn = 0 if source is Source.MONGODB else at.log[1] or at.log[0]
        log = ", log {:X}/{:X}".format(*divmod(lsn, 1 << 32)) if lsn else ""
        done = "deleted" if self.deleted else "landed"
        return f"{done} at epoch {at.epoch}, offset {at.offset}{where}{log}, committed {self.source_time.isoformat()}"


def canonical(table: Table, row: Iterable[Value]) -> Row:
    """Return a row as both databases must show it: instants in UTC, JSON by its meaning, decimals by their value."""
    return tuple(
        _json(value) if isinstance(column.type, Json) else _plain(value)
        for column, value in zip(table.all_columns, row, strict=False)  # a source's row ends before the enrichment
    )


def utc(at: datetime) -> datetime:
    """Return an instant in UTC: SQL Server's datetime2 has no zone, and holds that."""
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _plain(value: Value) -> Value:
    return utc(value) if isinstance(value, datetime) else value


def _json(value: Value) -> Value:
    if value is None:
        return None
    return json.dumps(json.loads(str(value), parse_float=_number, parse_int=_number), sort_keys=True)


def _number(text: str) -> dict[str, str]:
    """Represent a number by its value, with all digits. Never equal to a text: no key in Postgres' JSON has U+0000."""
    exact = Context(prec=len(text), Emax=MAX_EMAX, Emin=MIN_EMIN)
    return {"\0": str(Decimal(text).normalize(exact) or Decimal(0))}
