"""Postgres' logical replication messages, as far as a reader of rows needs them.

Format: https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_BEGIN, _COMMIT, _RELATION, _INSERT, _UPDATE = b"B", b"C", b"R", b"I", b"U"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
Row = dict[str, str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table: its columns in order, and which of them are its key."""

    schema: str
    name: str
    columns: tuple[str, ...]
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One row as a transaction wrote it; values in Postgres' text form."""

    relation: Relation
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class Transaction:
    """A committed transaction's rows. `lsn` is its commit record's, `end` where the log goes on behind it."""

    lsn: int
    end: int
    committed: datetime
    written: tuple[Written, ...]


def transactions(messages: Iterable[bytes]) -> Iterator[Transaction]:
    """Return the transactions of a run of whole transactions; deletes and truncates are left out."""
    relations: dict[int, Relation] = {}
    written: list[Written] = []
    for message in messages:
        kind = message[:1]
        if kind == _BEGIN:
            written = []
        elif kind == _RELATION:
            identity, relation = _relation(message)
            relations[identity] = relation
        elif kind in (_INSERT, _UPDATE):
            relation = relations[struct.unpack_from(">I", message, 1)[0]]
            written.append(Written(relation=relation, row=_new_row(message, relation)))
        elif kind == _COMMIT:
            lsn, end, at = struct.unpack_from(">QQq", message, 2)
            committed = _EPOCH + timedelta(microseconds=at)
            yield Transaction(lsn=lsn, end=end, committed=committed, written=tuple(written))


def _relation(message: bytes) -> tuple[int, Relation]:
    (identity,) = struct.unpack_from(">I", message, 1)
    schema, at = _text(message, 5)
    name, at = _text(message, at)
    (count,) = struct.unpack_from(">H", message, at + 1)  # behind the byte of the replica identity
    at += 3
    columns, key = [], []
    for _ in range(count):
        in_key = bool(message[at] & 1)
        column, at = _text(message, at + 1)
        at += 8  # the type's oid and modifier
        columns.append(column)
        if in_key:
            key.append(column)
    return identity, Relation(schema=schema, name=name, columns=tuple(columns), key=tuple(key))


def _new_row(message: bytes, relation: Relation) -> Row:
    at = 5
    if message[at : at + 1] in (b"K", b"O"):  # the old row's key or values come first
        _, at = _values(message, at + 1, relation)
    row, _ = _values(message, at + 1, relation)
    return row


def _values(message: bytes, at: int, relation: Relation) -> tuple[Row, int]:
    at += 2  # the number of columns
    row: Row = {}
    for column in relation.columns:
        kind, at = message[at : at + 1], at + 1
        row[column] = None
        if kind in (b"t", b"b"):
            (length,) = struct.unpack_from(">I", message, at)
            row[column] = message[at + 4 : at + 4 + length].decode()
            at += 4 + length
    return row, at


def _text(message: bytes, at: int) -> tuple[str, int]:
    end = message.index(b"\0", at)
    return message[at:end].decode(), end + 1
