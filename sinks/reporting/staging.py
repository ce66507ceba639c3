"""A table's staged row: which columns it has, in which order, and how a change becomes one.

Both SQL adapters stage the same rows; what differs is how a database is given them.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from schemas.change import Change, Key, Row
from schemas.fold import fold
from schemas.position import Position
from schemas.tables import Mode, Table
from schemas.types import Text

# The row's position (schemas.position), then its state. `_read` is staged for the guard and is not stored.
POSITION = ("_epoch", "_offset", "_version", "_log_commit", "_log_change")
SYSTEM = (*POSITION, "_deleted", "_source_time")
READ = "_read"


def event_id(table: Table) -> str:
    """Return the column that identifies an event of a tenant on any day: the last one of an event's key."""
    return table.key[-1]


def stored_columns(table: Table) -> tuple[str, ...]:
    """Return the columns of the table in reporting: its own, and for state the system's."""
    own = tuple(column.name for column in table.all_columns)
    return own if table.mode is Mode.EVENT else own + SYSTEM


def staged_columns(table: Table) -> tuple[str, ...]:
    """Return the columns of the staging table."""
    return stored_columns(table) if table.mode is Mode.EVENT else (*stored_columns(table), READ)


def text_lengths(table: Table) -> dict[str, int]:
    """Return the declared length of each text column that has one."""
    return {
        column.name: column.type.length
        for column in table.all_columns
        if isinstance(column.type, Text) and column.type.length
    }


def position_from_columns(row: Sequence[int] | None) -> Position | None:
    """Return the position in a row's POSITION columns."""
    if row is None:
        return None
    epoch, offset, version, *log = row
    return Position(epoch, offset, version, (log[0], log[1]))


def rounds(changes: Iterable[Change]) -> Iterable[tuple[Table, dict[Key, Change]]]:
    """Step 1: the changes of each table, folded; a table's rounds are in the order in which they must land."""
    tables: dict[str, list[Change]] = {}
    for name, run in groupby(changes, key=attrgetter("table.name")):
        tables.setdefault(name, []).extend(run)
    for of_table in tables.values():
        for newest in fold(of_table):
            yield of_table[0].table, newest


def staged_row(table: Table) -> Callable[[Change], Row]:
    """Return a function from a change of `table` to the values of `staged_columns`. A delete has its key and nulls."""
    if table.mode is Mode.EVENT:
        return lambda change: change.row or ()
    names = [column.name for column in table.all_columns]
    places = tuple(names.index(name) for name in table.key)

    def row(change: Change) -> Row:
        at = change.position
        values = change.row
        if values is None:
            blank: list[object] = [None] * len(names)
            for place, value in zip(places, change.key, strict=True):
                blank[place] = value
            values = tuple(blank)  # type: ignore[arg-type]
        return (
            *values,
            at.epoch,
            at.offset,
            at.version,
            *at.log,
            change.row is None,
            change.source_time,
            at.read,
        )

    return row
