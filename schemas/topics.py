"""Every topic, with what must be true of it. `connectors apply` makes them; nothing is created by the way."""

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
    """One topic: its name, its number of partitions (which never changes) and its configuration. `replicas` None
    leaves the replication factor to the brokers."""

    name: str
    partitions: int
    config: dict[str, str]
    replicas: int | None = None


MIN_IN_SYNC = "min.insync.replicas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replication:
    """How many replicas a topic has, and how many of them must have stored a record before it counts as written."""

    factor: int
    in_sync: int

    def of(self, topic: Topic) -> Topic:
        """The topic, replicated so."""
        return replace(topic, replicas=self.factor, config=topic.config | {MIN_IN_SYNC: str(self.in_sync)})


_COMPACTED = {"cleanup.policy": "compact", "min.compaction.lag.ms": str(DAY_MS)}
_APPEND_ONLY = {"cleanup.policy": "delete", "retention.ms": FOR_EVER, "retention.bytes": FOR_EVER}


def topics(tables: Iterable[Table] = TABLES) -> tuple[Topic, ...]:
    """All topics of these tables and Headrace's own.

    State is compacted and kept for ever: it rebuilds reporting. Events and dead letters never expire by time: events
    are deleted only up to what the archive proves, dead letters only up to the first open one, by `retention apply`.
    What was decided on dead letters is an audit, so nothing of it is compacted away. `headrace.pending` holds lines
    under their own key and partition.
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
    """The topics of this generation of reporting alone: what enrichment writes for it."""
    found = of_generation(generation, tables)
    size = record_bytes(found)
    return tuple(topic for table in found for topic in _enrichment(table, size))


def _records_of(size: int) -> dict[str, str]:
    return {"max.message.bytes": str(size)}


def _enrichment(table: Table, size: int) -> list[Topic]:
    """The topics that the enrichment of `table` writes, none where it has none. A captured record has `size` bytes at
    most, one that waits has the reason besides.
    """
    if not table.enrichment:
        return []
    sizes = dict.fromkeys(table.landed_topics, size)
    sizes[generations.topic(PENDING, table.generation)] = size + DEAD_LETTER_OVERHEAD
    return [
        Topic(name=name, partitions=table.partitions, config=_COMPACTED | _records_of(most))
        for name, most in sizes.items()
    ]
