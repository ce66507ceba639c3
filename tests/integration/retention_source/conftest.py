"""A migrated source of these tests' own, with months and days in which nothing else happens."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from operations import connections
from operations.migrate import make_partitions, migrate_oltp
from operations.months import month as month_of
from operations.retention.source import OltpRetention
from operations.settings import Settings
from tests.support.databases import empty_databases
from tests.support.source_rows import Connection

Roles = Callable[[connections.OltpRole], Connection]


@pytest.fixture(scope="package")
def migrated(settings: Settings, superuser: Connection) -> Iterator[Settings]:
    """Migrate a source that these tests share and that nothing captures."""
    with empty_databases(settings, superuser) as make:
        own = make()
        migrate_oltp(own)
        yield own


@pytest.fixture
def connect(migrated: Settings) -> Iterator[Roles]:
    opened: list[Connection] = []

    def make(role: connections.OltpRole) -> Connection:
        opened.append(connections.oltp(migrated, role))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def owner(connect: Roles) -> Connection:
    return connect("migrator")


@pytest.fixture
def shop(connect: Roles) -> Connection:
    return connect("app_writer")


@pytest.fixture
def role(connect: Roles) -> Connection:
    """Retention's connection, for a transaction that a test leaves open."""
    return connect("retention")


@pytest.fixture
def retention(role: Connection) -> OltpRetention:
    return OltpRetention(role)


@pytest.fixture(scope="package")
def unused_months() -> Iterator[date]:
    return (month_of(date(1990, 1, 1), offset) for offset in range(200))


@pytest.fixture
def month(migrated: Settings, unused_months: Iterator[date]) -> date:
    """Return a month that no other test uses."""
    first = next(unused_months)
    make_partitions(migrated, first, first)
    return first


@pytest.fixture
def split_tables() -> dict[str, str]:
    """Return the tables whose month is partitioned by day, with the column that decides."""
    return {"outbox_events": "occurred_at"}


@pytest.fixture
def day(migrated: Settings, owner: Connection, unused_months: Iterator[date], split_tables: dict[str, str]) -> datetime:
    """Return noon of a day that no other test uses, in an old month that is partitioned by day.

    The following month is not used by another test either.
    """
    first, _ = month_of(next(unused_months), 12 * 17), next(unused_months)
    with owner.transaction():
        for root, key in split_tables.items():
            split(owner, root, key, first)
    make_partitions(migrated, first, first)
    return datetime(first.year, first.month, 5, 12, tzinfo=UTC)


def split(owner: Connection, root: str, key: str, first: date) -> None:
    """Partition a month by day, as sales.make_month does for a recent month."""
    part, after = f"sales.{root}_{first:%Y_%m}", month_of(first, 1)
    owner.execute(f"CREATE TABLE {part} (LIKE sales.{root} INCLUDING ALL) PARTITION BY RANGE ({key})".encode())
    for number in range((after - first).days):
        begin = first + timedelta(days=number)
        bounds = f"FROM ('{begin} 00:00:00+00') TO ('{begin + timedelta(days=1)} 00:00:00+00')"
        owner.execute(f"CREATE TABLE {part}_{begin:%d} PARTITION OF {part} FOR VALUES {bounds}".encode())
    bounds = f"FROM ('{first} 00:00:00+00') TO ('{after} 00:00:00+00')"
    owner.execute(f"ALTER TABLE sales.{root} ATTACH PARTITION {part} FOR VALUES {bounds}".encode())


@pytest.fixture
def notes(owner: Connection) -> Iterator[None]:
    """Create a table with every type that is not partitioned and ages by any day of a month."""
    owner.execute(
        "CREATE TABLE sales.notes (note_id uuid PRIMARY KEY, tenant_id varchar(64) NOT NULL, on_day date NOT NULL, "
        'document jsonb, done boolean, size bigint NOT NULL, rate numeric(38, 10) NOT NULL, "Said" text, '
        "at timestamptz); GRANT SELECT ON sales.notes TO retention; "
        "INSERT INTO sales.minimum_age VALUES ('notes', 'on_day', '20 years')"
    )
    yield
    owner.execute("DROP TABLE sales.notes; DELETE FROM sales.minimum_age WHERE relation = 'notes'")
