"""A barrier turns "everything up to now" into something that can be checked, hop by hop.

It asks the slot, Connect, Kafka and the checkpoints, never a counter of ours. One table's barrier:

1. Note where the source stands: its clock, then its log's position (Postgres' LSN, MongoDB's cluster time).
2. It is captured when the slot's confirmed_flush_lsn has reached that position: it moves only with offsets that Connect
   has committed, so every change up to it is in Kafka. Connect's committed offset tells the same of MongoDB.
3. Take the end offsets of the table's captured topics.
4. It is passed when reporting's checkpoints have reached them; where enrichment stands between, its group's committed
   offsets must have reached them first, and the end offsets of its topic are taken after that.

`PipelineOffsets` are asked for in this order, so one look may bring a barrier over several hops. `advance` is pure.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
from confluent_kafka import KafkaException, TopicPartition
from pymongo.database import Database

from connectors.connect import Connect
from connectors.pipeline import Pipeline
from messaging import clients
from operations.databases.sides import Report
from schemas.errors import Unavailable
from schemas.tables import Source, Table, reported

Offsets = Mapping[tuple[str, int], int]
OnWait = Callable[[str], None]

POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineProbe:
    """What a record passes, and whom to ask. `oltp` may be any role, `enrich_group` is a consumer group."""

    pipeline: Pipeline
    oltp: psycopg.Connection[Any]
    catalog: Database[dict[str, Any]]
    connect: Connect
    bootstrap: str
    enrich_group: str
    report: Report

    def close(self) -> None:
        """Closes the connections to the databases."""
        self.oltp.close()
        self.catalog.client.close()
        self.report.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """Where a source stands: `at` by its own clock, read before `position`, where its log ends; and up to where its log
    is in Kafka (`captured`; None where nobody knows, and `unknown` says why). `unit` is that of a position."""

    at: datetime
    position: int
    captured: int | None
    unit: str
    unknown: str

    def behind(self, position: int) -> str | None:
        """What capture lacks to have reached `position`; None when it lacks nothing."""
        if self.captured is None:
            return self.unknown
        return None if self.captured >= position else f"capture is {position - self.captured} {self.unit}"


Stands = Mapping[Source, SourcePosition]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOffsets:
    """What one look along the line has found, in the order in which it was asked: where the sources stand, the end
    offsets of the captured topics, what enrichment has committed of them, the end offsets of its own topics, and the
    checkpoints. A source that did not answer has no stand."""

    stands: Stands
    captured: Offsets
    taken: Offsets
    emitted: Offsets
    landed: Offsets


@dataclass(frozen=True, slots=True, kw_only=True)
class Barrier:
    """One table's barrier: begun `at` that moment of the source's clock, when its log ended at `position`. Then the
    offsets to be reached, once they are known."""

    table: Table
    at: datetime
    position: int
    captured: Offsets | None = None
    emitted: Offsets | None = None


def log_of(table: Table) -> Source:
    """The source whose log carries a table."""
    return Source.MONGODB if table.source is Source.MONGODB else Source.POSTGRES


def begin(table: Table, stand: SourcePosition) -> Barrier:
    """A barrier where the source of `table` stands now."""
    return Barrier(table=table, at=stand.at, position=stand.position)


def advance(barrier: Barrier, seen: PipelineOffsets) -> tuple[Barrier, str | None]:
    """The barrier as far as this look brings it, and what it still lacks: None when it is passed."""
    table = barrier.table
    if barrier.captured is None:
        stand = seen.stands.get(log_of(table))
        lack = f"{log_of(table)} did not answer" if stand is None else stand.behind(barrier.position)
        if lack is not None:
            return barrier, lack
        barrier = replace(barrier, captured=_within(seen.captured, table.captured_topics))
    if barrier.emitted is None:
        lack = behind("enrich", barrier.captured or {}, seen.taken) if table.enrichment else None
        if lack is not None:
            return barrier, lack
        emitted = _within(seen.emitted, table.landed_topics) if table.enrichment else barrier.captured
        barrier = replace(barrier, emitted=emitted)
    return barrier, behind("reporting", barrier.emitted or {}, seen.landed)


def behind(hop: str, ends: Offsets, reached: Offsets) -> str | None:
    """What `hop` still lacks to have reached `ends`; None when it lacks nothing."""
    missing = {at: end - reached.get(at, 0) for at, end in ends.items() if end > reached.get(at, 0)}
    if not missing:
        return None
    (topic, partition), records = max(missing.items(), key=lambda item: item[1])
    return f"{hop} is {sum(missing.values())} records behind, {records} of them in {topic}[{partition}]"


def _within(offsets: Offsets, topics: Iterable[str]) -> Offsets:
    wanted = frozenset(topics)
    return {at: offset for at, offset in offsets.items() if at[0] in wanted}


def wait_for_barrier(probe: PipelineProbe, *, deadline_s: float, on_wait: OnWait = lambda _: None) -> Stands:
    """Return when everything committed before the call has landed, whatever its table; and where the sources stood.

    Raises Unavailable, naming the hop that is behind, when that has not happened after `deadline_s` seconds.
    """
    begun = sources(probe)
    barriers = [begin(table, begun[log_of(table)]) for table in reported(probe.pipeline.tables)]
    _pass(probe, barriers, lambda: sources(probe), deadline_s, on_wait)
    return begun


def wait_until_landed(probe: PipelineProbe, *, deadline_s: float, on_wait: OnWait = lambda _: None) -> None:
    """Return when everything that was in Kafka at the call has landed, whatever its table. Raises as `cross` does."""
    seen, now = look(probe, {}), datetime.now(UTC)
    barriers = [
        Barrier(table=table, at=now, position=0, captured=_within(seen.captured, table.captured_topics))
        for table in reported(probe.pipeline.tables)
    ]
    _pass(probe, barriers, dict, deadline_s, on_wait)


def _pass(
    probe: PipelineProbe, barriers: Sequence[Barrier], stands: Callable[[], Stands], deadline_s: float, on_wait: OnWait
) -> None:
    end = time.monotonic() + deadline_s
    while True:
        seen = look(probe, stands())
        steps = [advance(barrier, seen) for barrier in barriers]
        lack = next((lack for _, lack in steps if lack is not None), None)
        if lack is None:
            return
        if time.monotonic() > end:
            raise Unavailable(f"the barrier was not passed in time: {lack}")
        on_wait(lack)
        time.sleep(POLL_S)
        barriers = [barrier for barrier, _ in steps]


def look(probe: PipelineProbe, stands: Stands) -> PipelineOffsets:
    """One look along the line, from `stands`, which were asked for just before, to the checkpoints.

    Raises Unavailable when Kafka does not answer, the driver's error when reporting does not.
    """
    tables = reported(probe.pipeline.tables)
    enriched = [table for table in tables if table.enrichment]
    captured = clients.end_offsets(probe.bootstrap, [topic for table in tables for topic in table.captured_topics])
    lines = _within(captured, (topic for table in enriched for topic in table.captured_topics))
    return PipelineOffsets(
        stands=stands,
        captured=captured,
        taken=committed(probe.bootstrap, probe.enrich_group, lines),
        emitted=clients.end_offsets(probe.bootstrap, [topic for table in enriched for topic in table.landed_topics]),
        landed=probe.report.offsets(),
    )


def sources(probe: PipelineProbe) -> Stands:
    """Where both sources stand. Raises Unavailable when Connect does not answer, the driver's error when a source
    does not."""
    return {Source.POSTGRES: postgres(probe), Source.MONGODB: catalog(probe)}


def postgres(probe: PipelineProbe) -> SourcePosition:
    """Where Postgres stands. What anybody could see at `at` was logged before `position`, also by a transaction that
    did not wait for the disk."""
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


def catalog(probe: PipelineProbe) -> SourcePosition:
    """Where MongoDB stands, in seconds of its cluster time. Connect commits a source offset only when the records
    before it are in Kafka. One of a later second is past everything in the seconds before; heartbeats see to it that
    there will be one."""
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


def catalog_time(probe: PipelineProbe) -> datetime:
    """MongoDB's time now."""
    now: datetime = probe.catalog.command("hello")["localTime"]
    return now.replace(tzinfo=UTC)


def committed(bootstrap: str, group: str, wanted: Offsets) -> dict[tuple[str, int], int]:
    """The offsets that a consumer group has committed of the partitions in `wanted`; none when nobody answers."""
    if not wanted:
        return {}
    try:
        found = clients.observer(bootstrap, group).committed([TopicPartition(*at) for at in wanted], clients.TIMEOUT)
    except KafkaException:  # its coordinator moves, or the group has never been
        return {}
    return {(each.topic, each.partition): max(0, each.offset) for each in found}
