"""Write order steps to Postgres over several connections, each step in its own transaction.

A tenant always uses the same connection, so its steps are committed in order. Several connections share one flush of
the write-ahead log.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID
from zlib import crc32

import psycopg

from schemas.errors import HeadraceError, Unavailable
from shop.events import Event, event
from shop.model import OrderStep
from shop.statements import statement

CONNECTIONS = 4
DONE = """
SELECT event_id FROM sales.outbox_events
WHERE occurred_at BETWEEN %(first)s AND %(last)s AND event_id = ANY(%(event_ids)s)
"""
Todo = tuple[OrderStep, Event]


class Ledger:
    """The shop's own database. `write` returns when every step of a batch is committed."""

    def __init__(self, conninfo: str, connections: int = CONNECTIONS) -> None:
        self._lanes: list[psycopg.Connection[Any]] = []
        try:
            for _ in range(connections):
                self._lanes.append(_connect(conninfo))
        except psycopg.Error as error:
            self.close()
            raise _explained(error) from None
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="shop")

    def write(self, steps: Sequence[OrderStep]) -> int:
        """Commit the steps that are missing, in order for each tenant; return how many were written.

        After an error, some steps of the batch may be committed and the connections can't be used any more. Write the
        batch again through a new ledger: committed steps are skipped.
        Raises Unavailable when Postgres goes away, HeadraceError when it refuses a step.
        """
        try:
            todo = self._not_done([(step, event(step)) for step in steps])
            parts: list[list[Todo]] = [[] for _ in self._lanes]
            for each in todo:
                parts[crc32(each[1].tenant_id.encode()) % len(parts)].append(each)
            for done in [self._threads.submit(_write, *lane) for lane in zip(self._lanes, parts, strict=True)]:
                done.result()
        except psycopg.Error as error:
            raise _explained(error) from None
        return len(todo)

    def close(self) -> None:
        """Close the connections."""
        for lane in self._lanes:
            lane.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._threads.shutdown()
        self.close()

    def _not_done(self, todo: list[Todo]) -> list[Todo]:
        """Return the steps that are missing. A step and its event are one transaction, so the event proves the step."""
        if not todo:
            return []
        found = _found(self._lanes[0], (each[1] for each in todo))
        return [each for each in todo if each[1].event_id not in found] if found else todo


def _found(connection: psycopg.Connection[Any], events: Iterable[Event]) -> set[UUID]:
    moments: list[datetime] = []
    event_ids: list[UUID] = []
    for each in events:
        moments.append(each.occurred_at)
        event_ids.append(each.event_id)
    parameters = {"first": min(moments), "last": max(moments), "event_ids": event_ids}
    return {row[0] for row in connection.execute(DONE, parameters)}


def _connect(conninfo: str) -> psycopg.Connection[Any]:
    connection = psycopg.connect(conninfo, autocommit=True, prepare_threshold=1)
    # Planning each step again, over all partitions, costs more than executing it.
    connection.execute("SET plan_cache_mode = force_generic_plan")
    return connection


def _write(connection: psycopg.Connection[Any], part: list[Todo]) -> None:
    """Send each step as a transaction, without waiting for its answer before the next.

    A step that fails aborts the pipeline: Postgres skips all statements behind it.
    """
    failure: psycopg.Error | None = None
    try:
        with connection.pipeline():
            try:
                _send(connection.cursor(), part)
            except psycopg.Error as error:
                failure = error  # raised after the pipeline is closed: otherwise psycopg logs the errors that follow
    except psycopg.Error as error:
        failure = failure or error
    if failure:
        raise failure


def _send(cursor: psycopg.Cursor[Any], part: list[Todo]) -> None:
    cursor.execute("BEGIN")
    for each in part:
        cursor.execute(*statement(*each))
        cursor.execute("COMMIT AND CHAIN")
    cursor.execute("COMMIT")


def _explained(error: psycopg.Error) -> HeadraceError:
    reason = str(error).strip().splitlines()[0]
    if isinstance(error, psycopg.OperationalError):
        return Unavailable(
            f"Postgres, the shop's database: {reason}; check that it runs, then run the same headrace load again"
        )
    if "no partition of relation" in reason:
        return HeadraceError(
            f"Postgres: {reason}; create the partitions of this history first; see docs/runbook.md#no-partition"
        )
    return HeadraceError(f"Postgres refused a step: {reason}; are its migrations at this version (headrace migrate)?")
