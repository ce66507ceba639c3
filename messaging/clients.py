"""Create Kafka clients whose defaults lose no record, and query the brokers for topics and offsets."""

import logging
from collections.abc import Callable, Container, Iterable
from functools import lru_cache
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # exported, not declared
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from schemas.errors import HeadraceError, Unavailable
from schemas.sizes import DEAD_LETTER_OVERHEAD, LARGEST_RECORD

TIMEOUT = 10.0  # seconds that a broker has to answer a question
_LOG = logging.getLogger("headrace.kafka")
# Relevant errors are raised by a call, a delivery or `on_error`. librdkafka's own lines would repeat them, once for
# each broker and attempt.
_LOG.setLevel(logging.CRITICAL)

# murmur2_random is the Java clients' partitioner: a key has the same partition from every producer.
_PRODUCER = {
    "partitioner": "murmur2_random",
    "enable.idempotence": True,
    "acks": "all",
    "linger.ms": 5,
    "compression.type": "lz4",
    # The topic's limit decides; a dead letter is longer than the record it keeps.
    "message.max.bytes": LARGEST_RECORD + DEAD_LETTER_OVERHEAD,
}
# The checkpoint decides: offsets are not committed or reset automatically.
_CONSUMER = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "cooperative-sticky",
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 100,
    # Prefetched records are memory. This much keeps a busy worker from waiting.
    "queued.max.messages.kbytes": 8_192,
    "fetch.max.bytes": 4_194_304,
}


def producer(bootstrap: str, **overrides: Any) -> Producer:
    """Create a producer whose deliveries are idempotent and confirmed by every replica. Override with `linger_ms=…`."""
    return Producer({"bootstrap.servers": bootstrap} | _PRODUCER | _dotted(overrides), logger=_LOG)


def consumer(
    bootstrap: str, group: str, *, on_error: Callable[[KafkaError], None] | None = None, **overrides: Any
) -> Consumer:
    """Create a consumer that commits nothing automatically and fails, rather than jumps, when its offset is gone.

    `on_error` is called, from within `poll` or `consume`, for errors that belong to no partition, such as all brokers
    being down.
    """
    names: dict[str, Any] = {"bootstrap.servers": bootstrap, "group.id": group}
    if on_error is not None:
        names["error_cb"] = on_error
    return Consumer(names | _CONSUMER | _dotted(overrides), logger=_LOG)


def assign(reader: Consumer, partitions: list[TopicPartition]) -> None:
    """Assign these partitions to `reader`, outside any group, from the offsets that they carry.

    Raises:
        Unavailable: Kafka did not answer.
    """
    try:
        # Without this, librdkafka does not know the leader yet, and asks for it half a second later.
        for topic in {each.topic for each in partitions}:
            reader.list_topics(topic, timeout=TIMEOUT)
    except KafkaException as error:
        raise Unavailable(f"Kafka did not answer: {error_text(error)}") from None
    reader.assign(partitions)


@lru_cache(maxsize=8)
def admin(bootstrap: str) -> AdminClient:
    """Return the admin client for these brokers. It is cached: a collected client drops its pending requests."""
    return AdminClient({"bootstrap.servers": bootstrap}, logger=_LOG)


@lru_cache(maxsize=8)
def observer(bootstrap: str, group: str) -> Consumer:
    """Return a consumer that reads the committed offsets of `group` without being a member.

    The admin client can do the same, but it aborts the whole process if a broker goes away meanwhile (librdkafka's
    issues 3663 and 4605, open in 2.16). It is cached: a client takes a second to find its coordinator.
    """
    return consumer(bootstrap, group)


def topic_ids(bootstrap: str, topics: Iterable[str]) -> dict[str, str]:
    """Return the id of each topic. A topic that was deleted and created again has another id.

    Raises:
        TopicMissing: A topic does not exist.
        Unavailable: The brokers do not answer.
    """
    return {name: str(answer.topic_id) for name, answer in _described(bootstrap, topics).items()}


def partitions(bootstrap: str, topics: Iterable[str]) -> list[TopicPartition]:
    """Return all partitions of these topics. Raises as `topic_ids` does."""
    found = _described(bootstrap, topics)
    return [TopicPartition(name, each.id) for name, answer in found.items() for each in answer.partitions]


def present(bootstrap: str, topics: Iterable[str]) -> set[str]:
    """Return those of these topics that exist.

    Raises:
        Unavailable: The brokers do not answer.
    """
    try:
        return set(topics).intersection(admin(bootstrap).list_topics(timeout=TIMEOUT).topics)
    except KafkaException as error:
        raise Unavailable(f"Kafka at {bootstrap} did not answer: {error_text(error)}") from None


def end_offsets(
    bootstrap: str, topics: Iterable[str], only: Container[tuple[str, int]] | None = None
) -> dict[tuple[str, int], int]:
    """Return the offset that the next record of each partition will get, `only` for these partitions, or for all.

    A partition without a leader has no answer, so ask only for those that are needed. Raises as `topic_ids` does.
    """
    return _offsets(bootstrap, topics, OffsetSpec.latest(), only)  # type: ignore[no-untyped-call]


def start_offsets(
    bootstrap: str, topics: Iterable[str], only: Container[tuple[str, int]] | None = None
) -> dict[tuple[str, int], int]:
    """Return the first offset that each partition still holds. `only` and errors are those of `end_offsets`."""
    return _offsets(bootstrap, topics, OffsetSpec.earliest(), only)  # type: ignore[no-untyped-call]


def offsets_at(bootstrap: str, topics: Iterable[str], milliseconds: int) -> dict[tuple[str, int], int]:
    """Return the first offset of each partition whose record is of that time (ms since 1970) or later.

    It is the partition's end where there is none. Raises as `topic_ids` does.
    """
    names = list(topics)
    found = _offsets(bootstrap, names, OffsetSpec.for_timestamp(milliseconds))
    ends = end_offsets(bootstrap, names)
    return {at: ends[at] if offset < 0 else offset for at, offset in found.items()}


def delete_records(bootstrap: str, at: tuple[str, int], before: int) -> None:
    """Delete the records of a partition whose offsets are below `before`.

    Raises:
        Unavailable: The brokers do not answer.
    """
    asking = admin(bootstrap)
    futures = asking.delete_records([TopicPartition(*at, before)], request_timeout=TIMEOUT)
    for future in futures.values():
        _answer(future, at[0], bootstrap)


class TopicMissing(HeadraceError):
    """The topic does not exist; `headrace connectors apply` creates it."""


# Creating a topic returns before all brokers know it.
@retry(retry=retry_if_exception_type(TopicMissing), stop=stop_after_delay(3), wait=wait_fixed(0.2), reraise=True)
def _described(bootstrap: str, topics: Iterable[str]) -> dict[str, Any]:
    asking = admin(bootstrap)  # kept in a variable: an unreferenced client is destroyed before it answers
    futures = asking.describe_topics(TopicCollection(list(topics)), request_timeout=TIMEOUT)
    return {name: _answer(future, name, bootstrap) for name, future in futures.items()}


@retry(retry=retry_if_exception_type(Unavailable), stop=stop_after_delay(TIMEOUT), wait=wait_fixed(0.2), reraise=True)
def _offsets(
    bootstrap: str, topics: Iterable[str], spec: OffsetSpec, only: Container[tuple[str, int]] | None = None
) -> dict[tuple[str, int], int]:
    # A new partition may have no leader yet.
    known = partitions(bootstrap, topics)
    asked = {each: spec for each in known if only is None or (each.topic, each.partition) in only}
    asking = admin(bootstrap)
    futures = asking.list_offsets(asked, request_timeout=TIMEOUT)
    return {
        (each.topic, each.partition): _answer(future, each.topic, bootstrap).offset for each, future in futures.items()
    }


def _answer(future: Any, topic: str, bootstrap: str) -> Any:
    try:
        return future.result(TIMEOUT + 1)
    except (KafkaException, TimeoutError) as error:
        if _code(error) == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise TopicMissing(f"topic {topic} does not exist; `headrace connectors apply` makes it") from None
        raise Unavailable(f"Kafka at {bootstrap} did not answer about {topic}: {error_text(error)}") from None


def error_text(error: Exception) -> str:
    """Return the text of a Kafka error without its wrapper."""
    inner = error.args[0] if error.args else None
    return inner.str() if isinstance(inner, KafkaError) else str(error) or type(error).__name__


def _code(error: Exception) -> int | None:
    inner = error.args[0] if error.args else None
    return inner.code() if isinstance(inner, KafkaError) else None


def _dotted(overrides: dict[str, Any]) -> dict[str, Any]:
    return {name.replace("_", "."): value for name, value in overrides.items()}
