"""Write records of documents, so that a repair captures documents again without Debezium.

Debezium reads chosen documents again on a signal, which needs a collection of its own in the catalog and the right to
write there. A document's record needs neither. It holds the document as MongoDB has it now, is written where capture
would write it, and has the cluster time of the moment before the document was read. Every change up to that time is
part of what was read and loses against the record. Every later change wins over it, whichever is captured first.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bson import Timestamp, json_util
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from messaging import clients
from messaging.delivery import ConfirmedProducer, Headers
from messaging.registry import Registry
from operations.databases.database import batches
from schemas.change import Key
from schemas.decoders.record import document_key_bytes
from schemas.delete_envelope import Schema, envelope_value
from schemas.errors import HeadraceError
from schemas.tables import Source, Table
from schemas.wire import EPOCH_HEADER

Document = dict[str, Any]


def can_capture_again(table: Table, key: Key) -> bool:
    """Return whether a repair can have a record of this key written to its topic.

    Debezium writes the records of Postgres' rows. A document's record is written here. Kafka partitions and compacts by
    the bytes of its key, so they must be the bytes that capture writes.
    """
    return table.source is not Source.MONGODB or document_key_bytes(table, key) is not None


def write_documents(  # noqa: PLR0913, PLR0917
    bootstrap: str, registry: Registry, catalog: Database[Document], table: Table, keys: Sequence[Key], epoch: int
) -> None:
    """Write a confirmed record of each of these documents as it is now, or of a delete when there is none.

    Keys for which `can_capture_again` is false are skipped. `epoch` is the one that capture stamps on records.

    Raises:
        Unavailable: Kafka or the registry does not answer. Records that were written before remain.
    """
    topic, producer = table.captured_topics[0], ConfirmedProducer(clients.producer(bootstrap))
    schema_id, schema = registry.latest(f"{topic}-value")
    for some in batches([key for key in keys if can_capture_again(table, key)]):
        at, documents = read_documents(catalog, table, some)
        for key in some:
            value = document_value(schema_id, schema, documents.get(key), at)
            headers: Headers = [(EPOCH_HEADER, str(epoch).encode())]
            producer.deliver(topic, document_key_bytes(table, key), value, headers)


def read_documents(
    catalog: Database[Document], table: Table, keys: Sequence[Key]
) -> tuple[Timestamp, dict[Key, Document]]:
    """Return a cluster time and the documents that exist; every change up to that time is part of them.

    Raises:
        HeadraceError: The server is no replica set.
    """
    collection = catalog[table.relation].with_options(read_concern=ReadConcern("majority"))
    with catalog.client.start_session(causal_consistency=True) as session:
        catalog.command("ping", session=session)
        at = session.operation_time
        wanted = {"_id": {"$in": [dict(zip(table.key, key, strict=True)) for key in keys]}}
        found = {
            tuple(each["_id"][name] for name in table.key): each for each in collection.find(wanted, session=session)
        }
    if at is None:
        raise HeadraceError("MongoDB has no operation time, so it is no replica set")
    return at, found


def document_value(schema_id: int, schema: Schema, document: Document | None, at: Timestamp) -> bytes:
    """Return the value of a document's record at a cluster time: an update, or a delete when `document` is None."""
    after = None if document is None else json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS)
    source = {"ts_ms": at.time * 1_000, "ts_us": at.time * 1_000_000, "ts_ns": at.time * 1_000_000_000, "ord": at.inc}
    return envelope_value(
        schema_id, schema, {"op": "d" if after is None else "u", "after": after}, source, datetime.now(UTC)
    )
