"""The producer's side: nothing counts as sent before every replica has confirmed it."""

import asyncio
import io
import time
from collections.abc import Callable

import fastavro
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from messaging.decoding import Headers
from messaging.registry import Registry
from schemas import wire
from schemas.change import Change
from schemas.decoders import enriched
from schemas.errors import Unavailable
from schemas.tables import Table

PATIENCE = 60.0
"""Seconds that librdkafka may go on trying to deliver a record before the worker gives up and stops, unacked."""

_STEP = 0.001


class Outlet:
    """Sends records and tells when all of them are stored. For one thread."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self._outstanding = 0
        self._failure: str | None = None

    def send(self, topic: str, partition: int, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Queues one record. Raises Unavailable when the queue stays full."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=self._delivered, headers=list(headers))
                self._outstanding += 1
                return
            except BufferError:
                self._producer.poll(0.05)
                if time.monotonic() > deadline:
                    raise Unavailable(f"Kafka takes no more records for {topic}: the send queue stays full") from None
            except KafkaException as error:
                raise Unavailable(f"a record for {topic}/{partition} could not be queued: {error}") from None

    async def confirmed(self) -> None:
        """Return when all replicas have stored every sent record.

        Raises:
            Unavailable: A record was not stored.
        """
        deadline = time.monotonic() + PATIENCE + 10
        while True:
            self._producer.poll(0)
            if self._failure is not None:
                raise Unavailable(
                    f"a record was not delivered: {self._failure}; see docs/runbook.md#enrichment-stopped"
                )
            if not self._outstanding:
                return
            if time.monotonic() > deadline:
                raise Unavailable(f"{self._outstanding} records are not confirmed after {PATIENCE:.0f} s")
            await asyncio.sleep(_STEP)

    def _delivered(self, failure: KafkaError | None, message: Message) -> None:
        self._outstanding -= 1
        if failure is not None:
            self._failure = f"{message.topic()}/{message.partition()}: {failure.str()}"


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
