"""A database of a test's own on the server that HEADRACE_TEST_SQLSERVER names."""

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager

from pydantic import SecretStr
from tenacity import Retrying, stop_after_delay, wait_fixed

from operations.odbc import connection_string
from operations.settings import ReportingSettings


def reporting(odbc: str) -> ReportingSettings:
    """Return the connection string's values as settings, with a separate database."""
    given = dict(part.split("=", 1) for part in odbc.strip(";").split(";"))
    host, port = given.pop("SERVER").split(",")
    given.pop("DATABASE", None)
    return ReportingSettings(
        adapter="sqlserver",
        host=host,
        port=int(port),
        database=f"test_migrations_{secrets.token_hex(4)}",
        migrator_user=given.pop("UID"),
        migrator_password=SecretStr(given.pop("PWD")),
        writer_password=SecretStr("Wr1te'} ;" + secrets.token_hex(4)),
        reader_password=SecretStr("Re4d-" + secrets.token_hex(4)),
        retention_password=SecretStr("Ret1re-" + secrets.token_hex(4)),
        odbc=";".join(f"{name}={value}" for name, value in given.items()),
    )


@contextmanager
def empty(at: ReportingSettings) -> Iterator[None]:
    """Make the settings' database, and drop it at the block's end."""
    import pyodbc

    password = at.migrator_password.get_secret_value()
    odbc = connection_string(at, at.migrator_user, password, database="master")
    with closing(pyodbc.connect(odbc, autocommit=True)) as admin:
        admin.execute(f"CREATE DATABASE [{at.database}]")
        yield
        for attempt in Retrying(stop=stop_after_delay(20), wait=wait_fixed(0.1), reraise=True):  # sessions end late
            with attempt:
                admin.execute(f"DROP DATABASE [{at.database}]")
