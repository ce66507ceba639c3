"""A barrier turns "everything up to now" into something that can be checked, hop by hop.

It asks the slot, Connect, Kafka and the checkpoints, never a counter of ours:

1. Note where the sources stand: Postgres' log position L, MongoDB's cluster time T.
2. Wait until the slot's confirmed_flush_lsn has reached L: it moves only with offsets that Connect has committed,
   so every change up to L is in Kafka. Connect's committed offset tells the same of T.
3. Take the end offsets of the captured topics.
4. Wait until reporting's checkpoints have reached them; where enrichment stands between, wait for its group's
   committed offsets first, and take the end offsets of its topics after that.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from pymongo.database import Database

from connectors.connect import Connect
from connectors.line import Line
from kafka import clients
from operations.rows import Report
from schemas.errors import Unavailable
from schemas.tables import Source, reported

Offsets = Mapping[tuple[str, int], int]
OnWait = Callable[[str], None]

POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Hops:
    """What a record passes, and whom to ask. `oltp` may be any role, `enrich_group` is a consumer group."""

    line: Line
    oltp: psycopg.Connection[Any]
    catalog: Database[dict[str, Any]]
    connect: Connect
    bootstrap: str
    enrich_group: str
    report: Report


def cross(hops: Hops, *, deadline_s: float, on_wait: OnWait = lambda _: None) -> None:
    """Return when everything committed before the call has landed.

    Raises Unavailable, naming the hop that is behind, when that has not happened after `deadline_s` seconds.
    """
    end = time.monotonic() + deadline_s
    lsn, seconds = log_position(hops.oltp), hops.catalog.command("hello")["operationTime"].time
    _wait(end, on_wait, lambda: _behind_postgres(hops, lsn))
    _wait(end, on_wait, lambda: _behind_catalog(hops, seconds))
    _land(hops, end, on_wait)


def land(hops: Hops, *, deadline_s: float, on_wait: OnWait = lambda _: None) -> None:
    """As `cross`, for what is in Kafka at the call: steps 3 and 4 alone."""
    _land(hops, time.monotonic() + deadline_s, on_wait)


def _land(hops: Hops, end: float, on_wait: OnWait) -> None:
    tables = reported(hops.line.tables)
    direct = [topic for table in tables if not table.enrichment for topic in table.landed_topics]
    enriched = [table for table in tables if table.enrichment]
    captured = clients.end_offsets(hops.bootstrap, direct)
    taken = clients.end_offsets(hops.bootstrap, [topic for table in enriched for topic in table.captured_topics])
    _wait(end, on_wait, lambda: behind("enrich", taken, committed(hops.bootstrap, hops.enrich_group, taken)))
    emitted = clients.end_offsets(hops.bootstrap, [topic for table in enriched for topic in table.landed_topics])
    _wait(end, on_wait, lambda: behind("reporting", captured | emitted, hops.report.offsets()))


def behind(hop: str, ends: Offsets, reached: Offsets) -> str | None:
    """What `hop` still lacks to have reached `ends`; None when it lacks nothing."""
    missing = {at: end - reached.get(at, 0) for at, end in ends.items() if end > reached.get(at, 0)}
    if not missing:
        return None
    (topic, partition), records = max(missing.items(), key=lambda item: item[1])
    return f"{hop} is {sum(missing.values())} records behind, {records} of them in {topic}[{partition}]"


def _wait(end: float, on_wait: OnWait, lacking: Callable[[], str | None]) -> None:
    while (lack := lacking()) is not None:
        if time.monotonic() > end:
            raise Unavailable(f"the barrier was not passed in time: {lack}")
        on_wait(lack)
        time.sleep(POLL_S)


def log_position(oltp: psycopg.Connection[Any]) -> int:
    """Where Postgres' log ends now, in bytes."""
    (position,) = oltp.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchall()[0]
    return int(position)


def confirmed_position(oltp: psycopg.Connection[Any], slot: str) -> int | None:
    """Up to where everything in the log is in Kafka, in bytes; None where there is no such slot."""
    sql = "SELECT confirmed_flush_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = %s"
    found = oltp.execute(sql, [slot]).fetchall()
    return int(found[0][0]) if found and found[0][0] is not None else None


def catalog_time(hops: Hops) -> datetime:
    """MongoDB's time now."""
    now: datetime = hops.catalog.command("hello")["localTime"]
    return now.replace(tzinfo=UTC)


def committed(bootstrap: str, group: str, wanted: Offsets) -> dict[tuple[str, int], int]:
    """The offsets that a consumer group has committed of the partitions in `wanted`; none when nobody answers."""
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(*at) for at in wanted])
    admin = clients.admin(bootstrap)
    (future,) = admin.list_consumer_group_offsets([asked], request_timeout=clients.TIMEOUT).values()
    try:
        found = future.result(clients.TIMEOUT).topic_partitions
    except (KafkaException, TimeoutError):  # its coordinator moves, or the group has never been
        return {}
    return {(each.topic, each.partition): max(0, each.offset) for each in found}


def _behind_postgres(hops: Hops, lsn: int) -> str | None:
    confirmed = confirmed_position(hops.oltp, hops.line.slot)
    if confirmed is None:
        return f"replication slot {hops.line.slot} does not exist; see docs/runbook.md#slot-missing"
    return None if confirmed >= lsn else f"capture is {lsn - confirmed} bytes of log behind Postgres"


def _behind_catalog(hops: Hops, seconds: int) -> str | None:
    """Connect commits a source offset only when the records before it are in Kafka. One of a later second than the
    cluster time is past everything in it; heartbeats see to it that there will be one."""
    offsets = hops.connect.offsets(hops.line.connector(Source.MONGODB))
    reached = [int(each["offset"]["sec"]) for each in offsets if "sec" in each["offset"]]
    return None if reached and min(reached) > seconds else "capture is behind MongoDB"
