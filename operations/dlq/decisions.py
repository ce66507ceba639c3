"""What was decided on dead letters: an append-only topic, so that it is known who decided what, when and why.

The dead letters themselves stay where they are: they can be looked at, and sent again, at any time.
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
    """What became of a dead letter."""

    LANDED = "landed"
    OUTDATED = "outdated"
    AGED_OUT = "aged out"
    UNDECIDED = "undecided"
    DEAD_AGAIN = "dead again"
    DISCARDED = "discarded"

    @property
    def closes(self) -> bool:
        """Whether nothing is left to do. An undecided line has landed, and its product is still unknown."""
        return self not in (Verdict.UNDECIDED, Verdict.DEAD_AGAIN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision on the record that stands, or stood, at topic, partition and offset. Its `timestamp` (milliseconds
    since 1970) tells it from another record in a topic that was made anew. Of dead letters that lie behind offset
    `through` it says nothing, unless the record was discarded."""

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
        """Which record it is about."""
        return self.topic, self.partition, self.offset, self.timestamp


def identity(record: Record) -> Identity:
    """What tells a record from all others."""
    return record.topic, record.partition, record.offset, record.timestamp


class Journal:
    """The topic of decisions."""

    def __init__(self, bootstrap: str, *, topic: str = DECISIONS) -> None:
        self._bootstrap, self._topic = bootstrap, topic

    def read(self) -> Iterator[Decision]:
        """Every readable decision, oldest first. Raises HeadraceError where the topic does not exist, Unavailable."""
        for message in ranges.everything(self._bootstrap, self._topic):
            if (decision := parsed(message.value() or b"")) is not None:
                yield decision

    def write(self, decision: Decision) -> None:
        """Returns when the decision is stored by all replicas. Raises Unavailable when it is not."""
        key = f"{decision.topic}[{decision.partition}]@{decision.offset}".encode()
        self._producer.deliver(self._topic, key, orjson.dumps(decision))

    @cached_property
    def _producer(self) -> ConfirmedProducer:
        """The producer, made by the first `write`: a reader needs none."""
        return ConfirmedProducer(clients.producer(self._bootstrap, linger_ms=0))


def parsed(value: bytes | str) -> Decision | None:
    """A decision as `Journal.write` has stored it; None where it is none, which leaves its letter open."""
    try:
        fields = orjson.loads(value)
        verdict, at = Verdict(fields.pop("verdict")), datetime.fromisoformat(fields.pop("at"))
        found = Decision(verdict=verdict, at=at.astimezone(UTC), **fields)
    except (ValueError, LookupError, TypeError, AttributeError):
        return None
    numbers = found.partition, found.offset, found.timestamp, found.through
    whole = all(isinstance(each, int) and abs(each) < 2**63 for each in numbers)
    return found if whole and isinstance(found.topic, str) else None
