"""Cutover: swap the readers' views from one generation of reporting to another, as the database's migrator.

All in one transaction:

1. Block landing in the generation that readers see now, until the transaction ends.
2. Wait until the other generation has landed everything that is in Kafka, so that it is not behind what readers have
   seen.
3. Drop and create each view. The database lets no reader in between.
4. Record both generations' states.

Then commit. A reader locks the views for the duration of its statement (in Postgres: of its transaction), and step 3
waits for that lock. Other readers queue behind step 3, so it waits for a moment only, rolls back, and tries again.
"""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from migrations.connections import connected
from operations import generations
from operations.generations import Generation, State
from operations.migrate import cutover_dialect, reporting_server
from operations.settings import Settings
from schemas.errors import Unavailable
from schemas.failpoints import FailPoint, reached
from schemas.generations import schema
from sinks.reporting import control, views
from sinks.reporting.port import Transient
from sinks.reporting.query import Query
from sinks.reporting.views import CutoverDialect

LOCK_MS = 30_000  # the longest wait for a lock; the batch that is being landed has ended by then
# The longest wait for one view. All of them together stay below Postgres' deadlock_timeout (1 s): in a deadlock with a
# reader, the cutover gives up, never the reader.
VIEW_MS = 100
PAUSE_S = (0.2, 1.0)


class ReportingMigrator:
    """One connection of the migrator, which holds the lock against a second replay until it is closed."""

    def __init__(self, connection: Connection, dialect: CutoverDialect) -> None:
        self._connection, self._dialect = connection, dialect

    def lock(self) -> None:
        """Take the lock against a second replay. Raises Unavailable if another replay holds it."""
        with self._connection.begin():
            taken = self._connection.exec_driver_sql(self._dialect.sql.take_replay_lock())
            if not (taken.returns_rows and taken.scalar_one()):  # Babelfish answers a refusal with a message first
                raise Unavailable("another `headrace replay` is running on this database; wait until it has ended")

    def generations(self) -> list[Generation]:
        """Return all generations as they are committed now."""
        with self._transaction():
            return generations.read(self._query)

    def set_state(self, number: int, state: State) -> None:
        """Change the state of a generation."""
        with self._transaction():
            self._execute(control.set_state(number, state, datetime.now(UTC)))

    def swap_views(self, number: int, instead_of: int, catch_up: Callable[[], None], deadline_s: float) -> None:
        """Make readers see generation `number`, and mark `instead_of` as the previous one.

        Args:
            number: The generation to show.
            instead_of: The generation that readers see now.
            catch_up: Step 2 of the cutover; raises Unavailable while `number` is behind.
            deadline_s: How long to try, in seconds.

        Raises:
            Unavailable: every attempt failed until the deadline; nothing has changed.
        """
        end = time.monotonic() + deadline_s
        while (trouble := self._try_swap(number, instead_of, catch_up)) is not None:
            if time.monotonic() > end:
                raise Unavailable(
                    f"readers still see generation {instead_of}: {trouble}; see docs/runbook.md#views-not-turned"
                )
            time.sleep(random.uniform(*PAUSE_S))  # noqa: S311  # not a secret

    def _try_swap(self, number: int, instead_of: int, catch_up: Callable[[], None]) -> Unavailable | None:
        try:
            with self._transaction():
                self._swap(number, instead_of, catch_up)
        except Unavailable as behind:
            return behind
        except DBAPIError as error:
            found = self._dialect.classify(error.orig or error)
            if not isinstance(found, Transient):
                raise
            return found
        return None

    def _swap(self, number: int, instead_of: int, catch_up: Callable[[], None]) -> None:
        run, sql = self._connection.exec_driver_sql, self._dialect.sql
        run(sql.block_landing(instead_of))  # 1
        catch_up()  # 2
        run(sql.limit_lock_wait(VIEW_MS))
        for statement in views.swap(sql, number):  # 3
            run(statement)
        now = datetime.now(UTC)  # 4
        self._execute(control.set_state(instead_of, State.PREVIOUS, now))
        self._execute(control.set_state(number, State.LIVE, now))
        reached(FailPoint.VIEWS_SWAPPED)

    def has_schema(self, number: int) -> bool:
        """Return whether a generation's schema exists."""
        with self._transaction():
            found = self._query(*control.list_schemas())
        return schema(number) in {name for (name,) in found}

    def drop(self, number: int) -> None:
        """Drop a generation's tables and its schema in one transaction.

        The database refuses if anything else, such as a view of somebody's own, depends on the tables.
        """
        with self._transaction():
            for (name,) in self._query(*control.list_tables(number)):
                self._execute(control.drop_table(number, name))
            self._execute(control.drop_schema(number))

    def _query(self, text: str, parameters: Sequence[Any]) -> Sequence[Any]:
        return self._connection.exec_driver_sql(text, tuple(parameters)).fetchall()

    def _execute(self, statement: Query) -> None:
        text, parameters = statement
        self._connection.exec_driver_sql(text, tuple(parameters))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Run the block in a transaction that sets its own limit for lock waits.

        In SQL Server, the limit that an earlier transaction has set is still in force.
        """
        with self._connection.begin():
            self._connection.exec_driver_sql(self._dialect.sql.limit_lock_wait(LOCK_MS))
            yield


@contextmanager
def opened(settings: Settings) -> Iterator[ReportingMigrator]:
    """Connect to the reporting database, locked against a second replay. Raises Unavailable, MigrationFailed."""
    with connected(reporting_server(settings)) as connection:
        reporting = ReportingMigrator(connection, cutover_dialect(settings))
        reporting.lock()
        yield reporting
