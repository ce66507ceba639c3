"""Write delete records for rows that only reporting has, so that no rebuild brings them back.

Their topics still hold the record that they landed from, and the source, which has no such row, emits no delete. The
delete record travels as every change does: through enrichment, into each generation, and into a rebuild, which reads it
after the row's record. Compaction keeps it as the key's last record.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from messaging import clients
from messaging.delivery import ConfirmedProducer, Headers
from messaging.registry import Registry
from operations.databases.database import batches
from operations.databases.scope import Scope, key_of
from operations.databases.sides import Side
from operations.verify.diff import Difference
from schemas.change import Key
from schemas.decoders.record import key_bytes
from schemas.delete_envelope import delete_value
from schemas.tables import Mode, Source, Table
from schemas.wire import EPOCH_HEADER


def deletable(found: Iterable[Difference]) -> list[Difference]:
    """Return the differences that a delete record settles: rows of Postgres' tables that only reporting has."""
    return [
        each
        for each in found
        if each.source is None
        and each.place is not None
        and not each.place.deleted
        and each.table.mode is Mode.STATE
        and each.table.source is Source.POSTGRES
    ]


def write_deletes(bootstrap: str, registry: Registry, found: Sequence[Difference], source: Side) -> list[Difference]:
    """Write a confirmed delete record for each of these differences of one table.

    Returns:
        The differences whose row the source has after all. These rows must be captured again, as their change may come
        before the delete record.

    Raises:
        Unavailable: Kafka or the registry does not answer. Records that were written before remain.
    """
    if not found:
        return []
    table = found[0].table
    there = keys_present(table, [each.key for each in found], source)
    topic, producer = table.captured_topics[0], ConfirmedProducer(clients.producer(bootstrap))
    schema_id, schema = registry.latest(f"{topic}-value")
    for each in found:
        if each.key not in there and each.place is not None:
            landed = each.place.position
            value = delete_value(schema_id, schema, landed, datetime.now(UTC))
            headers: Headers = [(EPOCH_HEADER, str(landed.epoch).encode())]
            producer.deliver(topic, key_bytes(table, each.key), value, headers)
    there |= keys_present(table, [each.key for each in found], source)
    return [each for each in found if each.key in there]


def keys_present(table: Table, keys: Sequence[Key], side: Side) -> set[Key]:
    """Return those of these keys of which a side has a row."""
    place = key_of(table)
    return {place(row) for some in batches(keys) for row in side.rows(table, Scope(keys=some))}
