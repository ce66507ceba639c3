"""Declare every topic and its configuration. `connectors apply` creates them; no topic is created implicitly."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from schemas import generations
from schemas.sizes import DEAD_LETTER_OVERHEAD, record_bytes
from schemas.tables import TABLES, Mode, Source, Table, of_generation

DAY_MS = 86_400_000
FOR_EVER = "-1"

PREFIX = "shop"
DEAD_LETTERS = "headrace.dead-letters"
DECISIONS = "headrace.dead-letters.decisions"
PENDING = "headrace.pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic: its name, its number of partitions (which never changes) and its configuration.

    `replicas` None leaves the replication factor to the brokers.
    """

    name: str
    partitions: int
    config: dict[str, str]
    replicas: int | None = None


MIN_IN_SYNC = "min.insync.replicas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """The replicas of a topic, and how many of them must have stored a record before it counts as written."""

    factor: int
    in_sync: int

    def of(self, topic: Topic) -> Topic:
        """Return the topic with this replication."""
        return replace(topic, replicas=self.factor, config=topic.config | {MIN_IN_SYNC: str(self.in_sync)})


_COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY_MS)}
_APPEND_ONLY = {"cleanup.policy": "delete", "retention.ms": FOR_EVER, "retention.bytes": FOR_EVER}


def topics(tables: Iterable[Table] = TABLES) -> tuple[Topic, ...]:
    """Return all topics of these tables and Headrace's own.

    State is compacted and kept for ever: it rebuilds reporting. Events and dead letters never expire by time: events
    are deleted only up to what the archive proves, dead letters only up to the first open one, by `retention apply`.
    Decisions on dead letters are an audit, so they are not compacted. `headrace.pending` holds order lines in their own
    partition.
    """
    declared = tuple(tables)
    size = record_bytes(declared)
    found: list[Topic] = []
    for table in declared:
        config = (_APPEND_ONLY if table.mode is Mode.EVENT else _COMPACTED) | _records_of(size)
        found += [Topic(name=name, partitions=table.partitions, config=config) for name in table.captured_topics]
        found += _enrichment(table, size)
    found.append(Topic(name=DEAD_LETTERS, partitions=1, config=_APPEND_ONLY | _records_of(size + DEAD_LETTER_OVERHEAD)))
    found.append(Topic(name=DECISIONS, partitions=1, config=_APPEND_ONLY))
    beats = [f"__debezium-heartbeat.{source}.{PREFIX}" for source in (Source.POSTGRES, Source.MONGODB)]
    for name in [*beats, f"{PREFIX}.sales.heartbeat"]:
        found.append(Topic(name=name, partitions=1, config=_APPEND_ONLY | {"retention.ms": str(DAY_MS)}))
    return tuple(found)


def own_topics(generation: int, tables: Iterable[Table] = TABLES) -> tuple[Topic, ...]:
    """Return the topics of this generation of reporting alone, which its enrichment writes."""
    found = of_generation(generation, tables)
    size = record_bytes(found)
    return tuple(topic for table in found for topic in _enrichment(table, size))


def _records_of(size: int) -> dict[str, str]:
    return {"max.message.bytes": str(size)}


def _enrichment(table: Table, size: int) -> list[Topic]:
    """Return the topics that the enrichment of `table` writes, none for a table without enrichment.

    A captured record has at most `size` bytes. A pending record has the reason as well.
    """
    if not table.enrichment:
        return []
    sizes = dict.fromkeys(table.landed_topics, size)
    sizes[generations.topic(PENDING, table.generation)] = size + DEAD_LETTER_OVERHEAD
    return [
        Topic(name=name, partitions=table.partitions, config=_COMPACTED | _records_of(most))
        for name, most in sizes.items()
    ]
