"""Records of documents, so that what a repair names is read again where Debezium is not asked to.

Debezium reads chosen documents again on a signal, which needs a collection of its own in the catalog and the right to
write there. A document's record needs neither: it is the document as MongoDB has it now, written where capture would
write it, at the cluster time of the moment before it was read. Every change up to that time is in what was read, and
loses against the record; every later one wins over it, whichever is captured first.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from bson import Timestamp, json_util
from pymongo.database import Database
from pymongo.read_concern import ReadConcern

from messaging import clients
from messaging.registry import Registry
from operations.databases.database import batches
from schemas.change import Key
from schemas.decoders.record import document_key_bytes
from schemas.delete_envelope import Schema, envelope_value
from schemas.errors import HeadraceError
from schemas.tables import Table
from schemas.wire import EPOCH_HEADER

Document = dict[str, Any]


def writable(table: Table, key: Key) -> bool:
    """Whether a record of this key can be written: Kafka partitions and compacts by the key's bytes as capture writes
    them."""
    return document_key_bytes(table, key) is not None


def write_documents(  # noqa: PLR0913, PLR0917
    bootstrap: str, registry: Registry, catalog: Database[Document], table: Table, keys: Sequence[Key], epoch: int
) -> None:
    """Write a record of each of these documents as it is now, of a delete where there is none; confirmed. `epoch` is
    capture's.

    Raises Unavailable when Kafka or the registry does not answer: what was written until then stays.
    """
    topic, producer = table.captured_topics[0], clients.producer(bootstrap)
    schema_id, schema = registry.latest(f"{topic}-value")
    for some in batches([key for key in keys if writable(table, key)]):
        at, documents = read(catalog, table, some)
        for key in some:
            value = document_value(schema_id, schema, documents.get(key), at)
            headers = [(EPOCH_HEADER, str(epoch).encode())]
            clients.deliver(producer, topic, value, document_key_bytes(table, key), headers=headers)


def read(catalog: Database[Document], table: Table, keys: Sequence[Key]) -> tuple[Timestamp, dict[Key, Document]]:
    """These documents, and a cluster time up to which every change of them is in what was read."""
    collection = catalog[table.relation].with_options(read_concern=ReadConcern("majority"))
    with catalog.client.start_session(causal_consistency=True) as session:
        catalog.command("ping", session=session)
        at = session.operation_time
        wanted = {"_id": {"$in": [dict(zip(table.key, key, strict=True)) for key in keys]}}
        found = {
            tuple(each["_id"][name] for name in table.key): each for each in collection.find(wanted, session=session)
        }
    if at is None:
        raise HeadraceError("MongoDB told no operation time: it is no replica set")
    return at, found


def document_value(schema_id: int, schema: Schema, document: Document | None, at: Timestamp) -> bytes:
    """The value of a document's record at a cluster time: an update, or a delete where there is no document."""
    after = None if document is None else json_util.dumps(document, json_options=json_util.RELAXED_JSON_OPTIONS)
    source = {"ts_ms": at.time * 1_000, "ts_us": at.time * 1_000_000, "ts_ns": at.time * 1_000_000_000, "ord": at.inc}
    return envelope_value(
        schema_id, schema, {"op": "d" if after is None else "u", "after": after}, source, datetime.now(UTC)
    )
