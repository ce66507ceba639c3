"""A change of one row: the type that capture hands to enrichment, the sinks and the archive."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

from schemas.position import Position
from schemas.tables import Table

Value = str | int | bool | Decimal | date | datetime | None
Key = tuple[Value, ...]
Row = tuple[Value, ...]


class Op(StrEnum):
    """Debezium's operation codes."""

    CREATE = "c"
    UPDATE = "u"
    DELETE = "d"
    READ = "r"


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change of one row.

    `key` holds the values of `table.key`, in its order; `row` those of the table's columns (`table.all_columns` once
    it is enriched), in their order, or None for a delete. `source_time` is the source's commit time (UTC).
    """

    table: Table
    key: Key
    op: Op
    position: Position
    source_time: datetime
    row: Row | None
