"""Decode an outbox row, as Debezium's EventRouter sends it, into a Change of the events table.

The value holds the event's fields beside its payload. The record's key is the aggregate's id, which only keeps an
aggregate's events in order. An event is immutable, so a repeat needs no position: it is recognized by its tenant, day
and id, which are unique in the outbox.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from schemas.change import Change, Op
from schemas.decoders.postgres import Decode
from schemas.decoders.record import row_decoder
from schemas.decoders.values import timestamp
from schemas.position import Position
from schemas.tables import Table


def decoder(table: Table) -> Decode:
    """Return a function (key, value, epoch, offset) → Change, which raises BadRecord."""
    decode_row = row_decoder(table.columns)
    days = [column.name for column in table.columns if column.day_of == "occurred_at"]
    key_indexes = tuple([column.name for column in table.columns].index(name) for name in table.key)

    def decode(_key: bytes | None, value: Mapping[str, Any], epoch: int, offset: int) -> Change:
        occurred_at: datetime = timestamp(value.get("occurred_at"))
        row = decode_row({**value, **dict.fromkeys(days, occurred_at.date())})
        return Change(
            table=table,
            key=tuple(row[index] for index in key_indexes),
            op=Op.CREATE,
            position=Position(epoch, offset),
            source_time=occurred_at,
            row=row,
        )

    return decode
