"""A generation of the size that a real one has, on the server that HEADRACE_TEST_SQLSERVER names.

`make compose-test` runs it in about ten minutes; it is not part of `make test`, which has no SQL Server.
HEADRACE_TEST_SQLSERVER_ROWS scales it down.
"""

import os
from collections.abc import Iterator

import pytest

from operations.migrate import migrate_reporting
from operations.settings import Settings
from tests.support.bulk_rows import Filled, filled
from tests.support.sqlserver import empty, reporting

ROWS = int(os.environ.get("HEADRACE_TEST_SQLSERVER_ROWS", "10_000_000"))


@pytest.fixture(scope="session")
def big() -> Iterator[Filled]:
    """One tenant's orders of one month, in a database that is dropped at the end."""
    at = reporting(os.environ["HEADRACE_TEST_SQLSERVER"])
    with empty(at):
        settings = Settings.model_construct(reporting=at)
        migrate_reporting(settings)
        with filled(settings, ROWS) as made:
            yield made


@pytest.fixture
def sql_server(big: Filled) -> Filled:
    """The same, for what Babelfish can't answer: its locks and plans are Postgres'."""
    if big.babelfish:
        pytest.skip("Babelfish has neither SQL Server's locks nor its plans")
    return big
