"""The three stores of the contract suite. SQL Server runs where HEADRACE_TEST_SQLSERVER holds an ODBC connection
string; the run's header says whether it does."""

import os
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.stores import (
    GENERATION,
    MemoryStore,
    SqlStore,
    Store,
    make_sqlserver_generation,
    postgres,
    sqlserver,
)
from tests.support.trade import Tenant

ODBC = os.environ.get("HEADRACE_TEST_SQLSERVER")


@pytest.fixture(scope="session")
def postgres_conninfos(settings: object) -> tuple[str, str, str]:
    """Return connections of the sink's role, the migrator and retention to a generation that only this suite uses."""
    from operations import connections, migrate

    migrate.migrate_reporting(settings, GENERATION)  # type: ignore[arg-type]
    roles = ("writer", "migrator", "retention")
    writer, migrator, retention = (connections.reporting_conninfo(settings, role) for role in roles)  # type: ignore[arg-type]
    with psycopg.connect(migrator) as connection:  # each test leaves a cutoff of its own
        connection.execute("DELETE FROM retention.cutoff WHERE part LIKE 't-%' OR part LIKE 'test_%'")
    return writer, migrator, retention


@pytest.fixture(scope="session")
def sqlserver_odbc() -> str:
    """Return an ODBC connection string, after its generation has been made."""
    assert ODBC
    make_sqlserver_generation(ODBC)
    return ODBC


DATABASES = ["postgres", *(["sqlserver"] if ODBC else [])]


@pytest.fixture(params=["memory", *DATABASES])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Each store in turn."""
    opened: Store = MemoryStore() if request.param == "memory" else _database(request)
    yield opened
    opened.close()


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    """Each store that is told in SQL."""
    opened = _database(request)
    yield opened
    opened.close()


def _database(request: pytest.FixtureRequest) -> SqlStore:
    if request.param == "postgres":
        return postgres(*request.getfixturevalue("postgres_conninfos"))
    return sqlserver(request.getfixturevalue("sqlserver_odbc"))


@pytest.fixture
def tenant() -> Tenant:
    """Return a tenant of the test's own."""
    return Tenant()
