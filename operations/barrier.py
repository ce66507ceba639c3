"""A barrier turns "everything up to now" into a condition that can be checked at each stage of the pipeline.

It asks the replication slot, Connect, Kafka and the checkpoints, never a counter of ours. One table's barrier:

1. Read the source's clock, then the end of its log (Postgres' LSN, MongoDB's cluster time): the barrier's position.
2. The position is captured when the slot's confirmed_flush_lsn has reached it. That LSN advances only with offsets that
   Connect has committed, so every change up to it is in Kafka. For MongoDB, Connect's committed offset shows the same.
3. Then read the end offsets of the table's captured topics.
4. The barrier is passed when reporting's checkpoints have reached these ends. For an enriched table, the committed
   offsets of the enrichment's group must have reached them first; then the end offsets of the enriched topic are read,
   and the checkpoints must reach those.

`PipelineOffsets` are read in this order, so one reading may advance a barrier over several stages. `advance` is pure.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg
from confluent_kafka import KafkaException, TopicPartition

from connectors.connect import Connect
from connectors.pipeline import Pipeline
from messaging import clients
from operations.databases.sides import Report
from schemas.errors import Unavailable
from schemas.tables import Source, Table, reported

if TYPE_CHECKING:  # a library that takes long to import, for those who open a catalog
    from pymongo.database import Database

Offsets = Mapping[tuple[str, int], int]
OnWait = Callable[[str], None]

POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineProbe:
    """The pipeline, and connections to everything that knows how far a record has come.

    `oltp` may be of any role; `enrich_group` is the consumer group of the enrichment.
    """

    pipeline: Pipeline
    oltp: psycopg.Connection[Any]
    catalog: "Database[dict[str, Any]]"
    connect: Connect
    bootstrap: str
    enrich_group: str
    report: Report

    def close(self) -> None:
        """Close the connections to the databases."""
        self.oltp.close()
        self.catalog.client.close()
        self.report.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """End of a source's log, and how much of the log is captured.

    Attributes:
        at: The source's clock, read before `position`.
        position: The end of the source's log.
        captured: The position up to which the log is in Kafka; None if it is unknown.
        unit: The unit of a difference of positions, for messages.
        unknown: Why `captured` is unknown, for messages.
    """

    at: datetime
    position: int
    captured: int | None
    unit: str
    unknown: str

    def lag_to(self, position: int) -> str | None:
        """Return why capture has not reached `position`, for a message; None if it has."""
        if self.captured is None:
            return self.unknown
        return None if self.captured >= position else f"capture is {position - self.captured} {self.unit}"


SourcePositions = Mapping[Source, SourcePosition]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOffsets:
    """One reading of the whole pipeline, in the order in which it was read.

    Attributes:
        sources: The sources' positions; a source that did not answer is missing.
        captured: The end offsets of the captured topics.
        taken: The offsets of captured topics that enrichment has committed.
        emitted: The end offsets of the enrichment's topics.
        landed: Reporting's checkpoints.
    """

    sources: SourcePositions
    captured: Offsets
    taken: Offsets
    emitted: Offsets
    landed: Offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """One table's barrier, at the instant `at` of the source's clock, when the source's log ended at `position`.

    `captured` and `emitted` are the end offsets that enrichment and reporting must reach; None until they are known.
    """

    table: Table
    at: datetime
    position: int
    captured: Offsets | None = None
    emitted: Offsets | None = None


def source_of(table: Table) -> Source:
    """Return the source whose log carries a table: events of the outbox are in Postgres' log."""
    return Source.MONGODB if table.source is Source.MONGODB else Source.POSTGRES


def begin_barrier(table: Table, source: SourcePosition) -> Barrier:
    """Return a barrier at the present position of the table's source."""
    return Barrier(table=table, at=source.at, position=source.position)


def advance(barrier: Barrier, seen: PipelineOffsets) -> tuple[Barrier, str | None]:
    """Advance a barrier as far as one reading allows.

    Returns:
        The barrier, and the stage that is behind, for a message; None if the barrier is passed.
    """
    table = barrier.table
    if barrier.captured is None:
        source = seen.sources.get(source_of(table))
        behind = f"{source_of(table)} did not answer" if source is None else source.lag_to(barrier.position)
        if behind is not None:
            return barrier, behind
        barrier = replace(barrier, captured=_of_topics(seen.captured, table.captured_topics))
    if barrier.emitted is None:
        behind = lag("enrich", barrier.captured or {}, seen.taken) if table.enrichment else None
        if behind is not None:
            return barrier, behind
        emitted = _of_topics(seen.emitted, table.landed_topics) if table.enrichment else barrier.captured
        barrier = replace(barrier, emitted=emitted)
    return barrier, lag("reporting", barrier.emitted or {}, seen.landed)


def lag(stage: str, ends: Offsets, reached: Offsets) -> str | None:
    """Return how many records `stage` is behind `ends`, for a message; None if it is not behind."""
    missing = {at: end - reached.get(at, 0) for at, end in ends.items() if end > reached.get(at, 0)}
    if not missing:
        return None
    (topic, partition), records = max(missing.items(), key=lambda item: item[1])
    return f"{stage} is {sum(missing.values())} records behind, {records} of them in {topic}[{partition}]"


def _of_topics(offsets: Offsets, topics: Iterable[str]) -> Offsets:
    wanted = frozenset(topics)
    return {at: offset for at, offset in offsets.items() if at[0] in wanted}


def wait_for_barrier(probe: PipelineProbe, *, deadline_s: float, on_wait: OnWait = lambda _: None) -> SourcePositions:
    """Wait until everything committed before the call has landed, in every table.

    Args:
        probe: The pipeline.
        deadline_s: How long to wait, in seconds.
        on_wait: Called before each pause with the stage that is behind.

    Returns:
        The sources' positions at the call.

    Raises:
        Unavailable: the deadline has passed; the message names the stage that is behind.
    """
    begun = read_sources(probe)
    barriers = [begin_barrier(table, begun[source_of(table)]) for table in reported(probe.pipeline.tables)]
    _pass(probe, barriers, lambda: read_sources(probe), deadline_s, on_wait)
    return begun


def wait_until_landed(probe: PipelineProbe, *, deadline_s: float, on_wait: OnWait = lambda _: None) -> None:
    """Wait until everything that was in Kafka at the call has landed, in every table.

    Raises Unavailable as `wait_for_barrier` does.
    """
    seen, now = read_offsets(probe, {}), datetime.now(UTC)
    barriers = [
        Barrier(table=table, at=now, position=0, captured=_of_topics(seen.captured, table.captured_topics))
        for table in reported(probe.pipeline.tables)
    ]
    _pass(probe, barriers, dict, deadline_s, on_wait)


def _pass(
    probe: PipelineProbe,
    barriers: Sequence[Barrier],
    sources: Callable[[], SourcePositions],
    deadline_s: float,
    on_wait: OnWait,
) -> None:
    end = time.monotonic() + deadline_s
    while True:
        seen = read_offsets(probe, sources())
        steps = [advance(barrier, seen) for barrier in barriers]
        behind = next((behind for _, behind in steps if behind is not None), None)
        if behind is None:
            return
        if time.monotonic() > end:
            raise Unavailable(f"the barrier was not passed in time: {behind}")
        on_wait(behind)
        time.sleep(POLL_S)
        barriers = [barrier for barrier, _ in steps]


def read_offsets(probe: PipelineProbe, sources: SourcePositions) -> PipelineOffsets:
    """Read the offsets of every stage, from the sources' positions, read just before the call, to the checkpoints.

    Raises Unavailable if Kafka does not answer, the driver's error if reporting does not.
    """
    tables = reported(probe.pipeline.tables)
    enriched = [table for table in tables if table.enrichment]
    captured = clients.end_offsets(probe.bootstrap, [topic for table in tables for topic in table.captured_topics])
    to_enrich = _of_topics(captured, (topic for table in enriched for topic in table.captured_topics))
    return PipelineOffsets(
        sources=sources,
        captured=captured,
        taken=committed_offsets(probe.bootstrap, probe.enrich_group, to_enrich),
        emitted=clients.end_offsets(probe.bootstrap, [topic for table in enriched for topic in table.landed_topics]),
        landed=probe.report.offsets(),
    )


def read_sources(probe: PipelineProbe) -> SourcePositions:
    """Read both sources' positions.

    Raises Unavailable if Connect does not answer, the driver's error if a source does not.
    """
    return {Source.POSTGRES: read_postgres(probe), Source.MONGODB: read_catalog(probe)}


def read_postgres(probe: PipelineProbe) -> SourcePosition:
    """Read Postgres' position, in bytes of its log.

    The insert position covers everything that was visible at `at`, also transactions that did not wait for the disk.
    """
    found = probe.oltp.execute(
        "SELECT clock_timestamp(), pg_current_wal_insert_lsn() - '0/0'::pg_lsn, "
        "(SELECT confirmed_flush_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = %s)",
        [probe.pipeline.slot],
    ).fetchall()
    ((at, position, captured),) = found
    return SourcePosition(
        at=at,
        position=int(position),
        captured=None if captured is None else int(captured),
        unit="bytes of log behind Postgres",
        unknown=f"replication slot {probe.pipeline.slot} does not exist; see docs/runbook.md#slot-missing",
    )


def read_catalog(probe: PipelineProbe) -> SourcePosition:
    """Read MongoDB's position, in seconds of its cluster time.

    Connect commits a source offset only when the records before it are in Kafka. An offset of a later second is past
    everything in the seconds before it, and heartbeats make sure that there will be one.
    """
    hello = probe.catalog.command("hello")
    offsets = probe.connect.offsets(probe.pipeline.connector(Source.MONGODB))
    reached = [int(each["offset"]["sec"]) for each in offsets if "sec" in each["offset"]]
    return SourcePosition(
        at=hello["localTime"].replace(tzinfo=UTC),
        position=hello["operationTime"].time,
        captured=min(reached) - 1 if reached else None,
        unit="s behind MongoDB",
        unknown="capture of MongoDB has not begun",
    )


def read_catalog_time(probe: PipelineProbe) -> datetime:
    """Read MongoDB's clock."""
    now: datetime = probe.catalog.command("hello")["localTime"]
    return now.replace(tzinfo=UTC)


def committed_offsets(bootstrap: str, group: str, wanted: Offsets) -> dict[tuple[str, int], int]:
    """Read the offsets that a consumer group has committed for the partitions in `wanted`.

    Returns an empty dict if the group's coordinator does not answer.
    """
    if not wanted:
        return {}
    try:
        found = clients.observer(bootstrap, group).committed([TopicPartition(*at) for at in wanted], clients.TIMEOUT)
    except KafkaException:  # the coordinator moves, or the group has never existed
        return {}
    return {(each.topic, each.partition): max(0, each.offset) for each in found}
