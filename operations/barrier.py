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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import httpx
import psycopg
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition

from kafka import clients
from schemas.errors import Unavailable
from schemas.tables import TABLES, Table, reported

Offsets = Mapping[tuple[str, int], int]
OnWait = Callable[[str], None]

POLL_S = 0.2


class Checkpoints(Protocol):
    """What the barrier asks of a reporting adapter."""

    def offsets(self) -> Offsets:
        """The next offset of each (topic, partition) that has landed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The hops of one running line. `slot` and `catalog_connector` are names, `enrich_group` a consumer group."""

    oltp: psycopg.Connection[Any]
    slot: str
    catalog_time: Callable[[], int]
    connect_url: str
    catalog_connector: str
    bootstrap: str
    enrich_group: str
    checkpoints: Checkpoints
    tables: Iterable[Table] = TABLES


def cross(line: Line, *, deadline_s: float, on_wait: OnWait = lambda _: None) -> None:
    """Return when everything committed before the call has landed.

    Raises Unavailable, naming the hop that is behind, when that has not happened after `deadline_s` seconds.
    """
    end = time.monotonic() + deadline_s
    direct = {topic for table in reported(line.tables) if not table.enrichment for topic in table.landed_topics}
    enriched = [table for table in reported(line.tables) if table.enrichment]

    lsn, cluster_time = _log_position(line.oltp), line.catalog_time()
    _wait(end, on_wait, lambda: _behind_slot(line, lsn))
    _wait(end, on_wait, lambda: _behind_catalog(line, cluster_time))
    captured = clients.end_offsets(line.bootstrap, sorted(direct))
    lines = clients.end_offsets(line.bootstrap, [topic for table in enriched for topic in table.captured_topics])
    _wait(end, on_wait, lambda: behind("enrich", lines, _committed(line.bootstrap, line.enrich_group, lines)))
    landed = clients.end_offsets(line.bootstrap, [topic for table in enriched for topic in table.landed_topics])
    _wait(end, on_wait, lambda: behind("reporting", {**captured, **landed}, line.checkpoints.offsets()))


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


def _log_position(oltp: psycopg.Connection[Any]) -> int:
    row = oltp.execute("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None  # noqa: S101  # a function always returns a row
    return int(row[0])


def _behind_slot(line: Line, lsn: int) -> str | None:
    row = line.oltp.execute(
        "SELECT confirmed_flush_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE slot_name = %s", [line.slot]
    ).fetchone()
    if row is None or row[0] is None:
        return f"replication slot {line.slot} does not exist; see docs/runbook.md#slot-missing"
    return None if row[0] >= lsn else f"capture is {lsn - int(row[0])} bytes of log behind Postgres"


def _behind_catalog(line: Line, cluster_time: int) -> str | None:
    """Connect commits a source offset only when the records before it are in Kafka (KIP-875's REST answer)."""
    try:
        answer = httpx.get(f"{line.connect_url}/connectors/{line.catalog_connector}/offsets", timeout=10)
        answer.raise_for_status()
    except httpx.HTTPError as error:
        return f"Connect at {line.connect_url} does not tell the offsets of {line.catalog_connector}: {error}"
    seconds = [int(each["offset"].get("sec", 0)) for each in answer.json()["offsets"] if each["offset"]]
    return None if seconds and min(seconds) > cluster_time else "capture is behind MongoDB"


def _committed(bootstrap: str, group: str, wanted: Offsets) -> Offsets:
    asked = [TopicPartition(topic, partition) for topic, partition in wanted]
    (future,) = (
        clients.admin(bootstrap).list_consumer_group_offsets([ConsumerGroupTopicPartitions(group, asked)]).values()
    )
    return {
        (each.topic, each.partition): max(0, each.offset) for each in future.result(clients.TIMEOUT).topic_partitions
    }
