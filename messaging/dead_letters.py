"""Write and read dead letters: records that could not be decoded or stored.

They are kept byte for byte, with error and origin, so that they can be redriven at any time. A record is acknowledged
only after its dead letter is confirmed.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from confluent_kafka import Message, Producer
from prometheus_client import Counter

from messaging import ranges
from messaging.decoding import Headers
from messaging.delivery import ConfirmedProducer
from schemas.errors import HeadraceError
from schemas.topics import DEAD_LETTERS

COUNTER = Counter("headrace_dead_letters", "Records written to the dead-letter topic, confirmed.", ["topic", "error"])
_ORIGIN = ("origin-topic", "origin-partition", "origin-offset", "origin-timestamp")
_OWN = ("error", "message", "worker", "runbook", *_ORIGIN)
_TOO_LARGE = 2**63  # for an offset, and for the databases that store it
_REMEMBERED = 10_000  # confirmed origins that are remembered, so that a retried batch repeats none


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record as Kafka delivered it. `timestamp` in milliseconds since 1970, -1 where there is none."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    @property
    def origin(self) -> tuple[str, int, int]:
        """The record's origin: topic, partition, offset."""
        return self.topic, self.partition, self.offset


def record(message: Message) -> Record:
    """Convert a consumed message to a Record."""
    return Record(
        topic=str(message.topic()),
        partition=int(message.partition() or 0),
        offset=int(message.offset() or 0),
        timestamp=message.timestamp()[1],
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=[(name, _bytes(value)) for name, value in _headers(message)],
    )


class DeadLetters:
    """Writes dead letters through `producer`.

    `worker` names the writer in a header. `patience` is the time in seconds that Kafka has to confirm them.
    """

    def __init__(self, producer: Producer, worker: str, *, topic: str = DEAD_LETTERS, patience: float = 30.0) -> None:
        self._producer = ConfirmedProducer(producer, patience=patience, noun="dead letter")
        self._worker = worker
        self._topic = topic
        self._confirmed: dict[tuple[str, int, int], None] = {}

    def send(self, record: Record, error: HeadraceError) -> None:
        """Queue one dead letter, unless this record's is already confirmed. Call `confirm` before acknowledging.

        Raises:
            Unavailable: It could not be queued.
        """
        if record.origin in self._confirmed:
            return
        own = {
            "error": type(error).__name__,
            "message": str(error)[:1000],
            "origin-topic": record.topic,
            "origin-partition": record.partition,
            "origin-offset": record.offset,
            "origin-timestamp": record.timestamp,
            "worker": self._worker,
        }
        if error.entry is not None:
            own["runbook"] = error.entry
        headers: list[tuple[str, str | bytes | None]] = []
        headers += [(name, value) for name, value in record.headers if name not in _OWN_HEADERS]
        headers += [(f"headrace-{name}", str(value).encode()) for name, value in own.items()]
        stored = partial(self._stored, record, type(error).__name__)
        self._producer.send(self._topic, record.key, record.value, headers, on_stored=stored)

    def confirm(self) -> None:
        """Return when all replicas have stored every queued dead letter.

        It blocks. From a coroutine use `await asyncio.to_thread(dead_letters.confirm)`.

        Raises:
            Unavailable: A dead letter was not stored.
        """
        self._producer.confirm()

    def _stored(self, record: Record, error: str) -> None:
        self._remember(record.origin)
        COUNTER.labels(record.topic, error).inc()

    def _remember(self, origin: tuple[str, int, int]) -> None:
        self._confirmed[origin] = None
        if len(self._confirmed) > _REMEMBERED:
            del self._confirmed[next(iter(self._confirmed))]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """A stored dead letter: the record with its origin, the type and text of the error, the worker that refused it, the
    letter's own offset, and when it was stored (`seen`, milliseconds since 1970).

    `entry` is the anchor of the error's entry in docs/runbook.md; None for a letter written before errors named one.
    """

    record: Record
    error: str
    message: str
    worker: str
    offset: int
    seen: int
    entry: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A dead letter without its bytes: where and when (milliseconds since 1970) the record was captured, the type of
    the error, and the offset of the letter itself."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    error: str
    letter: int


def refusal(message: Message) -> Refusal:
    """Return the origin of the record in a dead letter."""
    own = _own(_headers(message))
    topic, partition, offset, timestamp = _origin(own, message)
    error = own.get("headrace-error", "unknown")
    letter = int(message.offset() or 0)
    return Refusal(topic=topic, partition=partition, offset=offset, timestamp=timestamp, error=error, letter=letter)


def listing(bootstrap: str, *, topic: str = DEAD_LETTERS) -> list[DeadLetter]:
    """Every dead letter now in the topic, oldest first, one for each origin (a crash may have repeated one).

    Raises HeadraceError when the topic does not exist, Unavailable when Kafka does not answer.
    """
    found: dict[tuple[str, int, int], DeadLetter] = {}
    for letter in stored(bootstrap, topic=topic):
        found.setdefault(letter.record.origin, letter)
    return list(found.values())


def stored(bootstrap: str, *, topic: str = DEAD_LETTERS) -> Iterator[DeadLetter]:
    """Every dead letter now in the topic, in its order, repeats included. Raises as `listing` does."""
    return map(_letter, ranges.everything(bootstrap, topic))


def _letter(message: Message) -> DeadLetter:
    kept = record(message)
    own = _own(kept.headers)
    topic, partition, offset, timestamp = _origin(own, message)
    origin = Record(
        topic=topic,
        partition=partition,
        offset=offset,
        timestamp=timestamp,
        key=kept.key,
        value=kept.value,
        headers=[(name, value) for name, value in kept.headers if name not in _OWN_HEADERS],
    )
    return DeadLetter(
        record=origin,
        error=own.get("headrace-error", "unknown"),
        message=own.get("headrace-message", ""),
        worker=own.get("headrace-worker", ""),
        offset=kept.offset,
        seen=kept.timestamp,
        entry=own.get("headrace-runbook"),
    )


def _own(headers: Iterable[tuple[str, Any]]) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in headers if name in _OWN_HEADERS}


def _origin(own: Mapping[str, str], message: Message) -> tuple[str, int, int, int]:
    """Topic, partition, offset and timestamp of the refused record; the letter's own where a header is missing, and all
    of them where one is no number: such a letter stays open until it is discarded."""
    letter = int(message.partition() or 0), int(message.offset() or 0), message.timestamp()[1]
    names = ("partition", "offset", "timestamp")
    try:
        at = [int(own.get(f"headrace-origin-{name}", its)) for name, its in zip(names, letter, strict=True)]
    except ValueError:
        at = [_TOO_LARGE]
    if any(abs(number) >= _TOO_LARGE for number in at):
        return str(message.topic()), *letter
    return own.get("headrace-origin-topic", str(message.topic())), at[0], at[1], at[2]


def _headers(message: Message) -> list[tuple[str, Any]]:
    return list(message.headers() or ())  # type: ignore[arg-type]  # the stubs allow a mapping, which only goes in


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value


_OWN_HEADERS = frozenset(f"headrace-{name}" for name in _OWN)
