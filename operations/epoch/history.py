"""Decide whether the source still has the history that capture has read. Only the functions at the end do I/O.

Postgres names a cluster by its system identifier. Each promotion (a failover, a restore to a point in time) begins a
timeline, whose history tells where it left the one before. Capture knows the LSN that it has read to. So:

- another system identifier, or a timeline that does not descend from the known one, is another history;
- a timeline that left the known one before the LSN that capture has read to lacks some of what was captured;
- a log that ends before that LSN lacks some of it, too: an older copy was restored;
- a slot that is ahead of Connect's committed offset does not send what lies between: a gap in the same history;
- everything else, such as a restart or a failover that lost nothing, continues the same history.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg

from connectors.connect import Connect
from schemas.errors import HeadraceError

# The timeline is the first part of a segment's name. pg_control_checkpoint would tell it late after a promotion.
_IDENTITY = (
    "(SELECT system_identifier FROM pg_control_system()), "
    "('x' || substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8))::bit(32)::integer"
)

Offset = Mapping[str, Any]
"""Connect's committed offset of the connector, as Debezium writes it; empty where there is none."""

Branches = Mapping[int, int]
"""Each timeline that the present one comes from, and the LSN at which it was left."""


class SourceRestarted(HeadraceError):
    """Capture can't continue in the source's history: it is another one, or part of it can't be read any more.
    See docs/runbook.md#source-restarted."""

    def __init__(self, why: str) -> None:
        super().__init__(
            f"capture has lost its place in the source's history: {why}. See docs/runbook.md#source-restarted"
        )
        self.why = why


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A cluster and one of its timelines."""

    system: int
    timeline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """The source at one moment: its identity, the end of its log, and the branches that led to its timeline."""

    identity: Identity
    position: int
    branches: Branches


def restart_reason(known: Identity, now: SourceState, read: int | None) -> str | None:
    """Return why the source isn't the one that is `known`; None if it is.

    `read` is the LSN that capture has read to, None before it has begun.
    """
    if now.identity.system != known.system:
        return f"it is another cluster (system identifier {now.identity.system}, not {known.system})"
    if now.identity.timeline != known.timeline:
        left = now.branches.get(known.timeline)
        if left is None:
            return f"timeline {now.identity.timeline} does not come from timeline {known.timeline}"
        if read is not None and read > left:
            return (
                f"timeline {now.identity.timeline} left timeline {known.timeline} at {lsn(left)}, "
                f"and capture has read to {lsn(read)}"
            )
    if read is not None and read > now.position:
        return f"its log ends at {lsn(now.position)}, and capture has read to {lsn(read)}"
    return None


def lsn(position: int) -> str:
    """Return a log position as Postgres writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"


def parse_branches(history: str) -> Branches:
    """Parse a timeline's history file (https://www.postgresql.org/docs/current/continuous-archiving.html)."""
    lines = (line.split() for line in history.splitlines() if line.strip() and not line.startswith("#"))
    return {int(timeline): _position(left) for timeline, left, *_ in lines}


def _position(text: str) -> int:
    high, low = text.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def slot_gap(slot: str, confirmed: int | None, committed: int | None) -> str | None:
    """Return why the slot skips changes that capture lacks; None if it does not.

    Debezium confirms what Connect has committed, never more. A slot that is ahead was advanced, or created again, by
    something else. Postgres then starts at `confirmed`, whatever Debezium asks for, and Debezium does not notice.

    Args:
        slot: The slot's name.
        confirmed: The slot's confirmed_flush_lsn, read before `committed`; None without a slot.
        committed: The LSN that Connect's committed offset allows to confirm; None without an offset.
    """
    if confirmed is None or committed is None or confirmed <= committed:
        return None
    return (
        f"replication slot {slot} was moved to {lsn(confirmed)}, and capture has committed {lsn(committed)}: "
        "what was written between is not captured"
    )


def connector_epoch(connect: Connect, connector: str) -> int | None:
    """Return the epoch that a connector stamps on its records; None if there is no connector."""
    config = connect.config(connector)
    return None if config is None else int(config["transforms.epoch.value.literal"])


def read_lsn(offset: Offset) -> int | None:
    """Return the LSN that capture has read to, by its committed offset; None if it has none."""
    return max((int(offset[name]) for name in ("lsn", "lsn_commit", "lsn_proc") if offset.get(name)), default=None)


def committed_lsn(offset: Offset) -> int | None:
    """Return the LSN that Debezium confirms to the slot for a committed offset.

    It is the end of the last commit, or the last change before there is a commit. None if there is no offset, and
    during the first snapshot.
    """
    found = None if offset.get("snapshot") else offset.get("lsn_commit") or offset.get("lsn_proc")
    return None if found is None else int(found)


def read_identity(oltp: psycopg.Connection[Any]) -> Identity:
    """Return the source's cluster and timeline."""
    (found,) = oltp.execute(f"SELECT {_IDENTITY}".encode()).fetchall()
    return Identity(system=found[0], timeline=found[1])


def read_source_state(oltp: psycopg.Connection[Any], known: Identity, replication: str) -> SourceState:
    """Return the source's present state.

    `replication` is a conninfo for a replication connection, which reads a timeline's history if the timeline isn't the
    `known` one.
    """
    position = "pg_current_wal_insert_lsn() - '0/0'::pg_lsn"
    (found,) = oltp.execute(f"SELECT {_IDENTITY}, {position}".encode()).fetchall()
    identity = Identity(system=found[0], timeline=found[1])
    history: Branches = {}
    if identity.timeline not in (known.timeline, 1):
        with psycopg.connect(replication, autocommit=True, replication="database") as walsender:
            ((_, content),) = walsender.execute(f"TIMELINE_HISTORY {identity.timeline}".encode()).fetchall()
        history = parse_branches(content)
    return SourceState(identity=identity, position=int(found[2]), branches=history)
