"""Fetch batches for the sinks, which keep their offsets in their own stores rather than in Kafka."""

from collections.abc import Container, Sequence

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from messaging import clients
from messaging.offsets import OffsetGone
from schemas.errors import Unavailable
from sinks.errors import Fatal

# After this time Kafka reassigns a dead worker's partitions, as for enrichment. A worker that was only slow is fenced.
SESSION_MS = 10_000
_LOG = structlog.get_logger("sink")


class Fetcher:
    """A consumer of `group`. `patience` is the time in seconds to wait for brokers that do not answer."""

    def __init__(self, bootstrap: str, group: str, patience: float) -> None:
        self.consumer = clients.consumer(
            bootstrap, group, on_error=self._note, enable_partition_eof=True, session_timeout_ms=SESSION_MS
        )
        self._patience = patience
        self._error: KafkaError | None = None

    def fetch(self, wait: float, *, most: int, linger: float) -> list[Message]:
        """Return at most `most` messages: the first within `wait` seconds, more within `linger` seconds.

        Raises:
            Unavailable: Kafka does not answer.
        """
        try:
            messages = self.consumer.consume(1, wait)
            if messages:
                messages += self.consumer.consume(most - 1, linger)
        except KafkaException as error:
            raise Unavailable(f"reading from Kafka failed: {clients.error_text(error)}") from error
        if self._error is not None:
            self._wait_for_kafka(self._error)
        return messages

    def records(
        self, messages: Sequence[Message], assigned: Container[tuple[str, int]]
    ) -> tuple[list[Message], dict[tuple[str, int], int]]:
        """Return the records of assigned partitions, and the offset after the last message of each partition.

        That offset is beyond the last record's if the log ends in records that compaction removed. `assigned` holds the
        assigned partitions.

        Raises:
            OffsetGone: The topic no longer holds the records that are next.
            Fatal: Another error after which reading can't continue.
        """
        found: list[Message] = []
        ends: dict[tuple[str, int], int] = {}
        for message in messages:
            at, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
            failure = message.error()
            if failure is None and at in assigned:
                found.append(message)
                ends[at] = offset + 1
            elif failure is not None and failure.code() == KafkaError._PARTITION_EOF:
                ends[at] = offset
            elif failure is not None:
                self._failed(failure, at)
        return found, ends

    def _note(self, error: KafkaError) -> None:
        self._error = error

    def _wait_for_kafka(self, noted: KafkaError) -> None:
        """Wait until a broker answers, for `patience` seconds at most. librdkafka reconnects without help."""
        self._error = None
        _LOG.warning("kafka", error=noted.str())
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
