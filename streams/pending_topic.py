"""The pending topic: undecided lines written down, so that an ack need not wait for the catalog.

Keyed and partitioned as the lines. A record holds the captured value byte for byte, and the line's offset in a
header; a tombstone with the offset of the line that is finished ends it.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

from confluent_kafka import OFFSET_BEGINNING, TopicPartition

from kafka.clients import assign, consumer, end_offsets
from kafka.dead_letters import Record, record
from kafka.decoding import Headers, epoch
from schemas.errors import BadRecord, Unavailable
from streams.reading import read_some

ORIGIN_OFFSET = "headrace-origin-offset"
_READ_TIMEOUT = 30.0


def headers(line: Record) -> Headers:
    """The headers of a line's pending record, and of its tombstone: the line's own, and where it stands."""
    return [*line.headers, (ORIGIN_OFFSET, str(line.offset).encode())]


def read(bootstrap: str, topic: str, partition: int, lines_topic: str) -> list[tuple[Record, bool]]:
    """The lines that wait in one partition, oldest first, as they stood in `lines_topic`; and whether each still has
    its record in the topic (False where a tombstone of an older line stands behind it: it has to be written again).

    Raises Unavailable when Kafka does not deliver the partition to its end.
    """
    found = remaining(_all(bootstrap, topic, partition))
    return [(replace(line, topic=lines_topic), safe) for line, safe in found]


def remaining(records: Iterator[Record]) -> list[tuple[Record, bool]]:
    """The pending records that no tombstone has ended, in the order of their lines, with the line's own offset.

    The newest line of a key counts, not the last record: a worker that lost its partition may still write.
    """
    found: dict[bytes, tuple[tuple[int, int], Record, bool]] = {}
    for each in records:
        at = _origin(each)
        if each.key is None or at is None:
            continue
        known = found.get(each.key)
        if each.value is not None:
            if known is None or at >= known[0]:
                found[each.key] = (at, _line(each, at[1]), True)
        elif known is not None and at >= known[0]:
            del found[each.key]
        elif known is not None:
            found[each.key] = (*known[:2], False)
    return [(line, safe) for _, line, safe in sorted(found.values(), key=lambda each: each[0])]


def _line(written: Record, offset: int) -> Record:
    own = [(name, value) for name, value in written.headers if name != ORIGIN_OFFSET]
    return replace(written, offset=offset, headers=own)


def _origin(written: Record) -> tuple[int, int] | None:
    offset = dict(written.headers).get(ORIGIN_OFFSET)
    try:
        return (epoch(written.headers), int(offset)) if offset is not None else None
    except (BadRecord, ValueError):
        return None


def _all(bootstrap: str, topic: str, partition: int) -> Iterator[Record]:
    end = end_offsets(bootstrap, [topic])[topic, partition]
    reader = consumer(bootstrap, "headrace-pending-reader", enable_partition_eof=True)
    try:
        assign(reader, [TopicPartition(topic, partition, OFFSET_BEGINNING)])
        position, deadline = 0, time.monotonic() + _READ_TIMEOUT
        while position < end:
            messages, reached = read_some(reader, 1.0)
            yield from map(record, messages)
            if reached:
                position, deadline = reached, time.monotonic() + _READ_TIMEOUT
            elif time.monotonic() > deadline:
                raise Unavailable(f"Kafka did not deliver {topic}/{partition} to its end within {_READ_TIMEOUT:.0f} s")
    finally:
        reader.close()
