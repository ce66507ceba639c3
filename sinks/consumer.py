"""Fetching batches for a worker that keeps its offsets elsewhere: what the sinks share of Kafka's consumer."""

from collections.abc import Container, Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from messaging import clients
from messaging.offsets import OffsetGone
from schemas.errors import Unavailable
from sinks.reporting.port import Fatal

# How soon Kafka gives a dead worker's partitions away, as enrichment does. A worker that was only slow is fenced.
SESSION_MS = 10_000
_LOG = structlog.get_logger("sink")


class Fetcher:
    """A consumer of `group`. `patience` is how many seconds brokers that don't answer are waited for."""

    def __init__(self, bootstrap: str, group: str, patience: float) -> None:
        self.consumer = clients.consumer(
            bootstrap, group, on_error=self._note, enable_partition_eof=True, session_timeout_ms=SESSION_MS
        )
        self._patience = patience
        self._trouble: KafkaError | None = None

    def fetch(self, wait: float, *, most: int, linger: float) -> list[Message]:
        """At most `most` messages: the first within `wait` seconds, more within `linger`. Raises Unavailable."""
        try:
            messages = self.consumer.consume(1, wait)
            if messages:
                messages += self.consumer.consume(most - 1, linger)
        except KafkaException as error:
            raise Unavailable(f"reading from Kafka failed: {clients.error_text(error)}") from error
        if self._trouble is not None:
            self._wait_for_kafka(self._trouble)
        return messages

    def records(
        self, messages: Sequence[Message], held: Container[tuple[str, int]]
    ) -> tuple[list[Message], dict[tuple[str, int], int]]:
        """The records among `messages` of partitions that are held, and the offset behind the last of each partition.

        An end of partition is ahead of the last record where the log ends in what compaction took. Raises OffsetGone
        and Fatal for what reading can't go on from.
        """
        found: list[Message] = []
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            at, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
            failure = message.error()
            if failure is None and at in held:
                found.append(message)
                ends[at] = offset + 1
            elif failure is not None and failure.code() == KafkaError._PARTITION_EOF:
                ends[at] = offset
            elif failure is not None:
                self._failed(failure, at)
        return found, ends

    def _note(self, error: KafkaError) -> None:
        self._trouble = error

    def _wait_for_kafka(self, trouble: KafkaError) -> None:
        """librdkafka connects again by itself; this only bounds for how long."""
        self._trouble = None
        _LOG.warning("kafka", error=trouble.str())
        try:
            self.consumer.list_topics(timeout=self._patience)
        except KafkaException as error:
            raise Unavailable(
                f"Kafka has not answered for {self._patience:.0f} s: {clients.error_text(error)}"
            ) from error

    def _failed(self, failure: KafkaError, at: tuple[str, int]) -> None:
        where = f"{at[0]}/{at[1]}"
        if failure.code() == KafkaError._AUTO_OFFSET_RESET:
            raise OffsetGone(
                where, f"the checkpoint points at records that the topic no longer holds ({failure.str()})"
            )
        if failure.fatal() or failure.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Fatal(f"{where}: reading from Kafka failed: {failure.str()}")
        self._note(failure)
