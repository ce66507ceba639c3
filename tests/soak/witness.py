"""The witness of a soak: reads every row that reporting commits, in commit order, from a replication slot of its own.

A reader that polls tables would miss what goes back for a moment; the log misses nothing. The slot outlives a crash of
the server, which may then repeat transactions: those are told by their LSN.
"""

import threading
from collections.abc import Iterator
from datetime import datetime

import psycopg

from schemas.generations import FIRST, schema
from tests.soak.background import Background
from tests.soak.invariants import Key, Marker, NewestRows, Stamp, Version, freshness_ahead, landing, missing
from tests.soak.pgoutput import Transaction, Written, transactions

SLOT = PUBLICATION = "soak"
SCHEMA = schema(FIRST)
EVERY_S = 1.0
PEEK = "SELECT data FROM pg_logical_slot_peek_binary_changes(%s, NULL, 20000, %s, %s, %s, %s)"
OPTIONS = ("proto_version", "1", "publication_names", PUBLICATION)


class Witness:
    """Follows reporting from a thread of its own. `conninfo` is the superuser's; `tenant` is that of the markers."""

    def __init__(self, conninfo: str, tenant: str) -> None:
        self._conninfo, self._tenant = conninfo, tenant
        self._rows, self._commits, self._last = NewestRows(), 0, 0
        self._landings: dict[tuple[str, Key], list[Version]] = {}
        self._stamps: list[Stamp] = []
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self.gone_back: list[str] = []
        self._thread = Background(self._follow, "witness")

    def start(self) -> None:
        """Begin to follow; what was committed before is not looked at."""
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            tables = connection.execute(
                "SELECT string_agg(format('%%I.%%I', schemaname, tablename), ', ') FROM pg_tables "
                "WHERE schemaname = %s AND tablename NOT IN ('checkpoint', 'schema_version')",
                [SCHEMA],
            ).fetchone()
            assert tables is not None
            connection.execute(f"CREATE PUBLICATION {PUBLICATION} FOR TABLE {tables[0]}".encode())
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", [SLOT])
        self._thread.start()

    def stop(self) -> None:
        """Read everything that is committed by now, then stop. Raises the exception that ended the thread."""
        self._stopping.set()
        self._thread.finish()
        while self._read():
            pass

    def wrong(self, markers: list[Marker]) -> list[str]:
        """Return the rows that went back and the stamps that promised a marker too early, up to now."""
        with self._lock:
            return [*self.gone_back, *freshness_ahead(markers, self._landings, self._stamps)]

    def missing(self, markers: list[Marker]) -> list[str]:
        """Return the markers that have not been seen yet."""
        with self._lock:
            return missing(markers, self._landings)

    def delays(self, markers: list[Marker]) -> list[float]:
        """Seconds from the commit in the source to the commit in reporting, of the markers that were seen, sorted."""
        with self._lock:
            seen = [(marker, landing(marker, self._landings)) for marker in markers]
        return sorted((at.committed - marker.committed).total_seconds() for marker, at in seen if at is not None)

    def counts(self) -> tuple[int, int]:
        """Return the number of rows that are followed, and that of the commits seen."""
        return len(self._rows), self._commits

    def _follow(self) -> None:
        while not self._stopping.is_set():
            try:
                busy = self._read()
            except psycopg.Error:  # it is being restarted
                busy = False
            if not busy:
                self._stopping.wait(EVERY_S)

    def _read(self) -> bool:
        """Read some transactions; returns whether there were any."""
        with psycopg.connect(self._conninfo, autocommit=True) as connection:
            found = connection.execute(PEEK, [SLOT, *OPTIONS], binary=True).fetchall()
            end = 0
            for transaction in transactions(data for (data,) in found):
                end = transaction.end
                if transaction.lsn > self._last:
                    self._last = transaction.lsn
                    self._take(transaction)
            if end:
                connection.execute("SELECT pg_replication_slot_advance(%s, '0/0'::pg_lsn + %s::numeric)", [SLOT, end])
            return bool(end)

    def _take(self, transaction: Transaction) -> None:
        with self._lock:
            self._commits += 1
            for written in transaction.written:
                if written.relation.name == "freshness":
                    self._stamps += _stamps(written, self._commits)
                else:
                    self._see(_version(written, self._commits, transaction.committed))

    def _see(self, version: Version) -> None:
        if wrong := self._rows.see(version):
            self.gone_back.append(wrong)
        if version.key[0] == self._tenant:
            self._landings.setdefault((version.table, version.key), []).append(version)


def _stamps(written: Written, commit: int) -> Iterator[Stamp]:
    name, through = written.row["table_name"], written.row["complete_through"]
    if name and through:
        yield Stamp(table=name, through=datetime.fromisoformat(through), commit=commit)


def _version(written: Written, commit: int, committed: datetime) -> Version:
    row = written.row
    updated_at = row.get("updated_at")
    return Version(
        table=written.relation.name,
        key=tuple(str(row[column]) for column in written.relation.key),
        position=(int(row["_epoch"] or 0), int(row["_offset"] or 0), int(row["_version"] or 0))
        if "_offset" in row
        else None,
        updated_at=datetime.fromisoformat(updated_at) if updated_at else None,
        commit=commit,
        committed=committed,
    )
