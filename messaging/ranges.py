"""Read ranges of offsets from topics, outside any consumer group: the one reader for topics that are read whole.

Workers that share partitions in a consumer group don't read through this module.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Self

from confluent_kafka import KafkaError, Message, TopicPartition

from messaging.clients import assign, consumer, end_offsets, start_offsets
from messaging.offsets import OffsetGone
from schemas.errors import Unavailable

SILENCE_S = 10.0
Partition = tuple[str, int]
Span = tuple[int, int]
# For a process that has little memory: 12 MB instead of 55 for a long topic, read as fast.
FRUGAL = {"queued_max_messages_kbytes": 1_024, "fetch_max_bytes": 1_048_576, "max_partition_fetch_bytes": 262_144}
_BATCH = 1_000


class RangeReader:
    """Reads partitions from given offsets, in batches. Close it after use, or use it as a context manager.

    `starts` holds the first offset of each (topic, partition). `overrides` are the consumer's.
    """

    def __init__(self, bootstrap: str, starts: Mapping[Partition, int], **overrides: Any) -> None:
        self._consumer = consumer(bootstrap, "headrace-spans", enable_partition_eof=True, **overrides)
        try:
            assign(self._consumer, [TopicPartition(*at, offset) for at, offset in starts.items()])
        except BaseException:
            self._consumer.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self, timeout: float) -> tuple[list[Message], dict[Partition, int]]:
        """Return the next records, and for each partition with progress the offset up to which it has been read.

        Wait up to `timeout` seconds for the first record. Both are empty if none arrived. A partition whose log ends in
        records that compaction or an aborted transaction removed makes progress without a record.

        Raises:
            OffsetGone: The topic does not hold the records that are next.
            Unavailable: Another error that librdkafka does not retry.
        """
        first = self._consumer.poll(timeout)
        if first is None:
            return [], {}
        records: list[Message] = []
        reached: dict[Partition, int] = {}
        # `consume` with a timeout would wait for a full batch.
        for message in [first, *self._consumer.consume(_BATCH, 0)]:
            at, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
            error = message.error()
            if error is None:
                records.append(message)
                reached[at] = offset + 1
            elif error.code() == KafkaError._PARTITION_EOF:
                reached[at] = max(reached.get(at, 0), offset)
            elif error.code() == KafkaError._AUTO_OFFSET_RESET:
                detail = f"records that were to be read next are no longer there ({error.str()})"
                raise OffsetGone(f"{at[0]}/{at[1]}", detail)
            elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise Unavailable(f"reading {at[0]} failed: {error.str()}")
        return records, reached


def records(
    bootstrap: str, spans: Mapping[Partition, Span], *, silence: float = SILENCE_S, **overrides: Any
) -> Iterator[Message]:
    """Yield the records of each (topic, partition) from its first offset up to, but not including, its second one.

    Records of different partitions are interleaved as they arrive; each partition is in order. `overrides` are the
    consumer's.

    Raises:
        Unavailable: Kafka delivered nothing for `silence` seconds, or records of a range were deleted meanwhile.
    """
    missing = {at: end for at, (start, end) in spans.items() if start < end}
    with RangeReader(bootstrap, {at: spans[at][0] for at in missing}, **overrides) as reader:
        while missing:
            try:
                messages, reached = reader.read(silence)
            except OffsetGone as error:
                raise Unavailable(f"records were deleted while they were read: {error}") from None
            if not reached:
                raise Unavailable(f"Kafka did not deliver the rest of {next(iter(missing))} within {silence:.0f} s")
            for message in messages:
                at = (str(message.topic()), int(message.partition() or 0))
                if int(message.offset() or 0) < missing.get(at, 0):
                    yield message
            for at, offset in reached.items():
                if offset >= missing.get(at, 0):
                    missing.pop(at, None)


def everything(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yield all records that are in a topic now.

    Raises:
        HeadraceError: The topic does not exist.
        Unavailable: Kafka does not answer.
    """
    ends, starts = end_offsets(bootstrap, [topic]), start_offsets(bootstrap, [topic])
    return records(bootstrap, {at: (starts[at], end) for at, end in ends.items()})
