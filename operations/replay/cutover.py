"""The reporting database as its migrator sees it: who may make generations, and turn the readers' views.

How readers' views are turned, all in one transaction:

1. nobody lands in the generation that readers see now, until the transaction ends: it stands still
2. wait until the other one has landed everything that is in Kafka: it is not behind what readers have seen
3. drop and create each view; a database lets nobody read in between
4. note both generations' states

Then commit. Whoever reads holds the views for as long as its statement takes (Postgres: its transaction), and step 3
waits for them. Others queue behind it, so it waits for a moment only, gives everything back, and tries again.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from migrations.connections import connected
from operations import generations
from operations.generations import Generation, State
from operations.migrate import reporting_server
from operations.replay import dialects
from operations.settings import Settings
from schemas.errors import Unavailable
from schemas.failpoints import FailPoint, reached
from schemas.generations import schema
from sinks.reporting.port import Transient

HOLD_MS = 30_000  # for a lock; the batch that is being landed has ended by then
# For one view. All of them together stay below Postgres' deadlock_timeout (1 s): of two who wait for each other, it is
# always this one who gives up, never a reader.
VIEW_MS = 100
PAUSE_S = (0.2, 1.0)


class ReportingMigrator:
    """One connection, which holds the lock against a second replay until it is closed."""

    def __init__(self, connection: Connection, dialect: dialects.CutoverDialect) -> None:
        self._connection, self._dialect = connection, dialect

    def lock(self) -> None:
        """Raises Unavailable where another replay is at work."""
        with self._connection.begin():
            taken = self._connection.exec_driver_sql(self._dialect.take_lock)
            if not (taken.returns_rows and taken.scalar_one()):  # Babelfish answers a refusal with a message first
                raise Unavailable("another `headrace replay` is at work on this database; wait until it has ended")

    def generations(self) -> list[Generation]:
        """As they are committed now."""
        with self._transaction():
            return generations.read(lambda sql: self._connection.exec_driver_sql(sql).fetchall())

    def note(self, number: int, state: State) -> None:
        """Changes the state of a generation."""
        with self._transaction():
            self._connection.exec_driver_sql(generations.become(number, state, datetime.now(UTC)))

    def switch_readers(self, number: int, instead_of: int, settle: Callable[[], None], deadline_s: float) -> None:
        """Have readers see `number`, as above, and mark `instead_of` as the previous one. `settle` is step 2.

        Raises Unavailable, and changes nothing, when it has not worked after `deadline_s` seconds.
        """
        end = time.monotonic() + deadline_s
        while (trouble := self._try(number, instead_of, settle)) is not None:
            if time.monotonic() > end:
                raise Unavailable(
                    f"readers still see generation {instead_of}: {trouble}; see docs/runbook.md#views-not-turned"
                )
            time.sleep(random.uniform(*PAUSE_S))  # noqa: S311  # not a secret

    def _try(self, number: int, instead_of: int, settle: Callable[[], None]) -> Unavailable | None:
        try:
            with self._transaction():
                self._show(number, instead_of, settle)
        except Unavailable as behind:
            return behind
        except DBAPIError as error:
            found = self._dialect.classify(error.orig or error)
            if not isinstance(found, Transient):
                raise
            return found
        return None

    def _show(self, number: int, instead_of: int, settle: Callable[[], None]) -> None:
        run, dialect = self._connection.exec_driver_sql, self._dialect
        run(dialect.hold(instead_of))  # 1
        settle()  # 2
        run(dialect.patience(VIEW_MS))
        for statement in dialect.turn(number):  # 3
            run(statement)
        now = datetime.now(UTC)  # 4
        run(generations.become(instead_of, State.PREVIOUS, now))
        run(generations.become(number, State.LIVE, now))
        reached(FailPoint.VIEWS_TURNED)

    def has_schema(self, number: int) -> bool:
        """Whether a generation has tables, or once had."""
        with self._transaction():
            found = self._connection.exec_driver_sql(dialects.schemas()).fetchall()
        return schema(number) in {name for (name,) in found}

    def drop(self, number: int) -> None:
        """Drop a generation's tables, and its schema, all or nothing. What depends on them, such as somebody's view,
        makes the database refuse."""
        with self._transaction():
            tables = self._connection.exec_driver_sql(dialects.tables_of(number)).fetchall()
            for (name,) in tables:
                self._connection.exec_driver_sql(dialects.drop_table(number, name))
            self._connection.exec_driver_sql(dialects.drop_schema(number))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """A transaction that says itself how long it waits for a lock: in SQL Server what the last one said outlives
        it."""
        with self._connection.begin():
            self._connection.exec_driver_sql(self._dialect.patience(HOLD_MS))
            yield


@contextmanager
def opened(settings: Settings) -> Iterator[ReportingMigrator]:
    """The database, locked against a second replay. Raises Unavailable, MigrationFailed."""
    dialect = dialects.POSTGRES if settings.reporting.adapter == "postgres" else dialects.SQLSERVER
    with connected(reporting_server(settings)) as connection:
        reporting = ReportingMigrator(connection, dialect)
        reporting.lock()
        yield reporting
