"""The pending topic: it stores undecided order lines, so that an ack need not wait for the catalog.

A record is in the partition of its order line. Its key is the line's key and position, so that compaction never lets
records of two workers replace each other: a worker that has lost its partition may still write. Its value is the
captured value, byte for byte. A tombstone ends the record of its own key.

Records of earlier versions have only the key of the order line. They are read as well, and written again where a later
record of that key would compact them away. One record of each partition, under LINES_ID, holds the id of the lines'
topic.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

from messaging import ranges
from messaging.clients import end_offsets, start_offsets
from messaging.dead_letters import Record, record
from messaging.decoding import Headers, epoch
from schemas.errors import BadRecord
from streams.start_offsets import check_whole

ORIGIN_OFFSET = "headrace-origin-offset"
LINES_ID = b"headrace-lines-topic-id"
_SILENCE_S = 30.0  # without a record until reading counts as failed
_At = tuple[int, int]  # epoch, offset


Written = tuple[Record, bytes]
"""A line as it was captured, and the key of its pending record."""


class PendingLines(NamedTuple):
    """The content of a partition of the pending topic.

    Attributes:
        waiting: The newest line of each key, oldest first, with the key of its record. None as the key means that the
            record has to be written again.
        obsolete: Records of lines that a newer one has replaced. Each needs a tombstone.
        lines_id: The id of the topic that the lines' offsets belong to, None where it has not been written yet.
    """

    undecided: list[tuple[Record, bytes | None]]
    obsolete: list[Written]
    lines_id: str | None


def key(line: Record) -> bytes:
    """Return the key of a line's pending record."""
    return (line.key or b"") + _suffix(epoch(line.headers), line.offset)


def headers(line: Record) -> Headers:
    """Return the headers of a line's pending record and of its tombstone: the line's headers, and its offset."""
    return [*line.headers, (ORIGIN_OFFSET, str(line.offset).encode())]


def read(bootstrap: str, topic: str, partition: int, lines_topic: str) -> PendingLines:
    """Read one partition. Its lines are returned as records of `lines_topic`.

    Raises:
        Unavailable: Kafka does not deliver the partition to its end.
        OffsetGone: The partition lacks its beginning.
    """
    beginning = start_offsets(bootstrap, [topic], {(topic, partition)})[topic, partition]
    check_whole(f"{topic}/{partition}", beginning)
    return remaining(_all(bootstrap, topic, partition), lines_topic)


def remaining(records: Iterator[Record], lines_topic: str) -> PendingLines:
    """Reduce pending records, in order, to the newest line of each key, whichever was written last."""
    newest: dict[bytes, tuple[_At, Written]] = {}
    lines_id: str | None = None
    # By pending key: the records that compaction keeps, without the captured bytes.
    kept: dict[bytes, tuple[_At, Record]] = {}
    for each in records:
        if each.key == LINES_ID and each.value is not None:
            lines_id = each.value.decode()
        at = _origin(each)
        if each.key is None or at is None:
            continue
        line = _line(each, lines_topic, *at)
        name = line.key or b""
        known = newest.get(name)
        if each.value is not None:
            kept[each.key] = (at, replace(line, value=None))
            if known is None or at >= known[0]:
                newest[name] = (at, (line, each.key))
        else:
            kept.pop(each.key, None)
            # Two records may hold one line, under its bare key and its own: each tombstone ends its own alone.
            if known is not None and (at > known[0] or (at, each.key) == (known[0], known[1][1])):
                del newest[name]
    return _found(newest, kept, lines_id)


def _found(
    newest: dict[bytes, tuple[_At, Written]], kept: dict[bytes, tuple[_At, Record]], lines_id: str | None
) -> PendingLines:
    undecided: list[tuple[Record, bytes | None]] = []
    for at, (line, written) in sorted(newest.values(), key=lambda each: each[0]):
        safe = written in kept and kept[written][0] == at
        undecided.append((line, written if safe else None))
    safely = {written for _, written in undecided}
    obsolete = [(line, written) for written, (_, line) in kept.items() if written not in safely]
    return PendingLines(undecided, obsolete, lines_id)


def _line(written: Record, topic: str, epoch: int, offset: int) -> Record:
    own = [(name, value) for name, value in written.headers if name != ORIGIN_OFFSET]
    name = (written.key or b"").removesuffix(_suffix(epoch, offset))
    return replace(written, topic=topic, key=name, offset=offset, headers=own)


def _suffix(epoch: int, offset: int) -> bytes:
    return b"@%d/%d" % (epoch, offset)


def _origin(written: Record) -> _At | None:
    offset = dict(written.headers).get(ORIGIN_OFFSET)
    try:
        return (epoch(written.headers), int(offset)) if offset is not None else None
    except (BadRecord, ValueError):
        return None


def _all(bootstrap: str, topic: str, partition: int) -> Iterator[Record]:
    end = end_offsets(bootstrap, [topic], {(topic, partition)})[topic, partition]
    return map(record, ranges.records(bootstrap, {(topic, partition): (0, end)}, silence=_SILENCE_S))
