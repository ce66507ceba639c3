"""Decisions on dead letters, in an append-only topic that records who decided what, when and why.

The dead letters stay in their own topic: they can be read and redriven at any time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property

import orjson

from messaging import clients, ranges
from messaging.dead_letters import Record
from messaging.delivery import ConfirmedProducer
from schemas.topics import DECISIONS

Identity = tuple[str, int, int, int]


class Verdict(StrEnum):
    """The outcome of a dead letter."""

    LANDED = "landed"
    OUTDATED = "outdated"
    AGED_OUT = "aged out"
    UNDECIDED = "undecided"
    DEAD_AGAIN = "dead again"
    DISCARDED = "discarded"

    @property
    def closes(self) -> bool:
        """True where nothing is left to do. An undecided order line has landed, but its product is still unknown."""
        return self not in (Verdict.UNDECIDED, Verdict.DEAD_AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision on the captured record at topic, partition and offset.

    The record's `timestamp` (milliseconds since 1970) distinguishes it from a record at the same offset of a topic that
    was deleted and created again. The decision covers the record's dead letters up to offset `through`, and all later
    ones where the record was discarded.
    """

    topic: str
    partition: int
    offset: int
    timestamp: int
    through: int
    verdict: Verdict
    detail: str
    by: str
    at: datetime

    @property
    def identity(self) -> Identity:
        """The identity of the record that was decided on."""
        return self.topic, self.partition, self.offset, self.timestamp


def identity(record: Record) -> Identity:
    """Return the identity of a record: topic, partition, offset and timestamp."""
    return record.topic, record.partition, record.offset, record.timestamp


class Journal:
    """The topic of decisions: reads it, and appends to it."""

    def __init__(self, bootstrap: str, *, topic: str = DECISIONS) -> None:
        self._bootstrap, self._topic = bootstrap, topic

    def read(self) -> Iterator[Decision]:
        """Yield every readable decision, oldest first.

        Raises:
            HeadraceError: the topic does not exist.
            Unavailable: Kafka does not answer.
        """
        for message in ranges.everything(self._bootstrap, self._topic):
            if (decision := parse_decision(message.value() or b"")) is not None:
                yield decision

    def write(self, decision: Decision) -> None:
        """Append a decision, and return when all replicas have stored it. Raises Unavailable when they have not."""
        key = f"{decision.topic}[{decision.partition}]@{decision.offset}".encode()
        self._producer.deliver(self._topic, key, orjson.dumps(decision))

    @cached_property
    def _producer(self) -> ConfirmedProducer:
        """The producer, created by the first `write`; reading needs none."""
        return ConfirmedProducer(clients.producer(self._bootstrap, linger_ms=0))


def parse_decision(value: bytes | str) -> Decision | None:
    """Parse a stored decision; return None for a value that is not one, which leaves the dead letter open."""
    try:
        fields = orjson.loads(value)
        verdict, at = Verdict(fields.pop("verdict")), datetime.fromisoformat(fields.pop("at"))
        found = Decision(verdict=verdict, at=at.astimezone(UTC), **fields)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    numbers = found.partition, found.offset, found.timestamp, found.through
    whole = all(isinstance(each, int) and abs(each) < 2**63 for each in numbers)
    return found if whole and isinstance(found.topic, str) else None
