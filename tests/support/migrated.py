"""Logins to databases that tests have migrated from nothing, and the revisions of their chains."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

import migrations
from operations.settings import Settings
from tests.support.databases import Connection

_FOLDER = Path(migrations.__file__).parent
OLTP_VERSIONS = _FOLDER / "oltp" / "versions"
OLTP_CHAIN = sorted(path.stem for path in OLTP_VERSIONS.glob("*.sql"))
REPORTING_CHAIN = sorted(path.stem for path in (_FOLDER / "reporting" / "postgres" / "versions").glob("*.sql"))
NOW = datetime.now(UTC)
TODAY = NOW.date()
CUTOFF = "INSERT INTO retention.cutoff VALUES ('events', '2026-01-01', '[]')"

Login = Callable[[str], Connection]


@contextmanager
def logins(settings: Settings) -> Iterator[Login]:
    """Give a function that returns a role's connection. A transaction that a test leaves open is rolled back."""
    at, opened = settings.oltp, dict[str, Connection]()
    report = settings.reporting

    def connect(role: str) -> Connection:
        if role not in opened:
            if role.startswith("reporting_"):
                password = getattr(report, f"{role.removeprefix('reporting_')}_password")
                where = {"host": report.host, "port": report.port, "dbname": report.database}
            else:
                password = getattr(at, f"{role}_password")
                where = {"host": at.host, "port": at.port, "dbname": at.database}
            opened[role] = psycopg.connect(user=role, password=password.get_secret_value(), **where)
        for connection in opened.values():  # another role's open transaction may hold a lock
            connection.rollback()
        return opened[role]

    yield connect
    for connection in opened.values():
        connection.close()
