"""Serialize enriched changes to the bytes that the sinks read, under a registered schema."""

import io
from collections.abc import Callable

import fastavro

from messaging.registry import Registry
from schemas import wire
from schemas.change import Change
from schemas.decoders import enriched
from schemas.tables import Table


def serializer(table: Table, registry: Registry, topic: str) -> Callable[[Change], bytes]:
    """Register the schema under the topic's subject, and return a function from an enriched change to a record's value.

    Raises as `Registry.register` does.
    """
    schema = enriched.schema(table)
    head = wire.frame(registry.register(f"{topic}-value", schema))
    parsed = fastavro.parse_schema(schema)
    encode = enriched.encoder(table)
    write = fastavro.schemaless_writer
    # Naming the union's branch spares fastavro trying the row against the schema first.
    row_type = f"{schema['namespace']}.Row"

    def serialize(change: Change) -> bytes:
        datum = encode(change)
        if datum["row"] is not None:
            datum["row"] = (row_type, datum["row"])
        body = io.BytesIO()
        body.write(head)
        write(body, parsed, datum)
        return body.getvalue()

    return serialize
