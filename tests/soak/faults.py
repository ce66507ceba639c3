"""Carry out the actions of a schedule, each on a thread of its own, so that faults overlap."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import psycopg
from psycopg import sql

from operations import connections
from schemas.errors import Unavailable
from tests.soak.pipeline import SoakPipeline
from tests.soak.schedule import NETWORK, Action, Kind

Say = Callable[[str], None]
DISK_BYTES = 4096
AGAIN_S = 1.0
BULK_TENANT = "soak-bulk"
INSERT = """
INSERT INTO sales.orders (tenant_id, order_month, order_id, customer_id, status, total, currency, placed_at)
SELECT %(tenant)s, date_trunc('month', now())::date, %(run)s || '-' || number, 'bulk', 'placed', number, 'EUR', now()
FROM generate_series(%(first)s::integer, %(last)s::integer) AS number ON CONFLICT DO NOTHING
"""
UPDATE = """
UPDATE sales.orders SET status = 'approved', approved_at = now(), updated_at = now()
WHERE tenant_id = %(tenant)s AND order_month >= date_trunc('month', now()) - interval '1 month'
    AND order_id LIKE %(run)s || '-%%'
"""
EVENT = """
INSERT INTO sales.outbox_events (event_id, tenant_id, aggregate_type, aggregate_id, event_type, payload)
SELECT gen_random_uuid(), %s, 'order', %s, 'OrderNoted', jsonb_build_object('note', string_agg(md5(number::text), ''))
FROM generate_series(1, %s::integer / 32) AS number
"""


class Faults:
    """Begin each action at its time. `run` is part of the keys that are written, so that two runs differ."""

    def __init__(self, pipeline: SoakPipeline, run: str, say: Say) -> None:
        self._pipeline, self._run, self._say = pipeline, run, say
        self._threads: list[threading.Thread] = []
        self._locks: dict[str, threading.Lock] = {}
        self._added: set[str] = set()
        self.done: Counter[str] = Counter()
        self.failed: list[str] = []
        self.commits = 0

    def play(self, actions: list[Action], seconds: float) -> None:
        """Carry out the actions within `seconds`, and return when the last of them is over."""
        began = time.monotonic()
        for number, action in enumerate(actions):
            time.sleep(max(0.0, began + action.at - time.monotonic()))
            thread = threading.Thread(target=self._carry_out, args=(number, action), name=str(action), daemon=True)
            self._threads.append(thread)
            thread.start()
        time.sleep(max(0.0, began + seconds - time.monotonic()))
        for thread in self._threads:
            thread.join()

    def _carry_out(self, number: int, action: Action) -> None:
        place = f"link {action.target}" if action.kind in NETWORK else action.target
        with self._locks.setdefault(place, threading.Lock()):  # two faults of one place follow each other
            self._say(f"{action}")
            began = time.monotonic()
            try:
                self._do(number, action)
            except psutil.NoSuchProcess:
                self._say(f"{action}: nothing runs that could be harmed")
                return
            except Exception as error:
                self.failed.append(f"{action}: {type(error).__name__}: {error}")
                self._say(f"could not be done: {self.failed[-1]}")
                return
            self.done[f"{action.kind} {action.target}"] += 1
            self._say(f"{action}: over after {time.monotonic() - began:.1f} s")

    def _do(self, number: int, action: Action) -> None:
        match action.kind:
            case Kind.KILL:
                self._pipeline.process(action.target).kill()
            case Kind.PAUSE:
                _pause(self._pipeline.process(action.target), action.seconds)
            case Kind.RESTART:
                self._pipeline.restart(action.target, action.seconds)
            case Kind.FULL_DISK:
                _fill_disk(self._pipeline.process(action.target), action.seconds)
            case Kind.BULK:
                self._until_done(lambda source: self._bulk(source, f"{self._run}-{number}", action.amount))
            case Kind.SAVEPOINT:
                self._until_done(lambda source: self._half(source, f"{self._run}-{number}", action.amount))
            case Kind.EVENT:
                self._until_done(lambda source: self._event(source, f"{self._run}-{number}", action.amount))
            case Kind.DDL:
                self._until_done(lambda source: self._alter(source, action.target))
            case _:
                assert action.kind in NETWORK
                self._pipeline.network.harm(action.target, action.kind, action.seconds)

    def _until_done(self, statements: Callable[[psycopg.Connection[Any]], None]) -> None:
        """Run statements on the source, again after an error: a server may be away at this moment."""
        while True:
            try:
                with connections.oltp(self._pipeline.settings, "migrator") as source:
                    statements(source)
                return
            except (Unavailable, psycopg.OperationalError, psycopg.InterfaceError):
                time.sleep(AGAIN_S)

    def _bulk(self, source: psycopg.Connection[Any], run: str, rows: int) -> None:
        source.execute(INSERT, {"tenant": BULK_TENANT, "run": run, "first": 1, "last": rows})
        source.execute(UPDATE, {"tenant": BULK_TENANT, "run": run})
        self.commits += 2

    def _half(self, source: psycopg.Connection[Any], run: str, rows: int) -> None:
        """Insert and update rows, of which half are rolled back to a savepoint, then update the rest once more."""
        kept = {"tenant": BULK_TENANT, "run": run, "first": 1, "last": rows // 2}
        with source.transaction():
            source.execute(INSERT, kept)
            with source.transaction(force_rollback=True):
                source.execute(INSERT, kept | {"first": rows // 2 + 1, "last": rows})
                source.execute(UPDATE, kept)
        source.execute(UPDATE, kept)
        self.commits += 2

    def _event(self, source: psycopg.Connection[Any], run: str, size: int) -> None:
        source.execute(EVENT, [BULK_TENANT, run, size])
        self.commits += 1

    def _alter(self, source: psycopg.Connection[Any], table: str) -> None:
        """Add a nullable column, or drop the one that was added before."""
        what = sql.SQL("DROP COLUMN soak" if table in self._added else "ADD COLUMN soak text")
        source.execute("SET lock_timeout = '2s'")  # a statement that waits for the lock blocks all others behind it
        source.execute(sql.SQL("ALTER TABLE {} {}").format(sql.Identifier(*table.split(".")), what))
        self._added ^= {table}


def _pause(process: psutil.Process, seconds: float) -> None:
    process.send_signal(signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        process.send_signal(signal.SIGCONT)


def _fill_disk(process: psutil.Process, seconds: float) -> None:
    """Let every write beyond a few KB of a file fail. A process that is started meanwhile has room again."""
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    process.rlimit(psutil.RLIMIT_FSIZE, (DISK_BYTES, hard))
    try:
        time.sleep(seconds)
    finally:
        if process.is_running():
            process.rlimit(psutil.RLIMIT_FSIZE, (hard, hard))
