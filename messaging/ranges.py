"""Read ranges of offsets from topics, outside any consumer group."""

from collections.abc import Iterator, Mapping
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from messaging.clients import assign, consumer, end_offsets, start_offsets
from schemas.errors import Unavailable

SILENCE_S = 10.0
Span = tuple[int, int]
# For a process that has little memory: 12 MB instead of 55 for a long topic, read as fast.
FRUGAL = {"queued_max_messages_kbytes": 1_024, "fetch_max_bytes": 1_048_576, "max_partition_fetch_bytes": 262_144}


def records(bootstrap: str, spans: Mapping[tuple[str, int], Span], **overrides: Any) -> Iterator[Message]:
    """Yield the records of each (topic, partition) from its first offset up to, but not including, its second one.

    Records of different partitions are interleaved as they arrive; each partition is in order. `overrides` are the
    consumer's.

    Raises:
        Unavailable: Kafka delivered nothing for 10 s.
    """
    missing = {at: end for at, (start, end) in spans.items() if start < end}
    reader = consumer(bootstrap, "headrace-spans", enable_partition_eof=True, **overrides)
    try:
        assign(reader, [TopicPartition(*at, spans[at][0]) for at in missing])
        while missing:
            message = reader.poll(SILENCE_S)
            if message is None:
                raise Unavailable(f"Kafka did not deliver the rest of {next(iter(missing))} within {SILENCE_S:.0f} s")
            failure, at = message.error(), (str(message.topic()), int(message.partition() or 0))
            offset, end = int(message.offset() or 0), missing.get(at, 0)
            if failure is not None and failure.code() != KafkaError._PARTITION_EOF:
                raise Unavailable(f"reading {at[0]} failed: {failure.str()}")
            if failure is None and offset < end:
                yield message
            # After the last record there may be an end that compaction or a transaction left.
            if failure is not None or offset + 1 >= end:
                missing.pop(at, None)
    finally:
        reader.close()


def everything(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yield all records that are in a topic now.

    Raises:
        HeadraceError: The topic does not exist.
        Unavailable: Kafka does not answer.
    """
    ends, starts = end_offsets(bootstrap, [topic]), start_offsets(bootstrap, [topic])
    return records(bootstrap, {at: (starts[at], end) for at, end in ends.items()})
