"""A superuser and empty databases, for tests that would harm the stack's or that start from nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from operations.settings import Settings
from tests.support.databases import Connection, empty_databases


@pytest.fixture(scope="session")
def superuser(settings: Settings, stack_folder: Path) -> Iterator[Connection]:
    """The stack's superuser, for what only a database administrator does."""
    password = json.loads((stack_folder / "passwords.json").read_text())["postgres"]
    with psycopg.connect(
        host=settings.oltp.host,
        port=settings.oltp.port,
        user="postgres",
        password=password,
        dbname="postgres",
        autocommit=True,
    ) as connection:
        yield connection


@pytest.fixture(scope="module")
def empty(settings: Settings, superuser: Connection) -> Iterator[Callable[[], Settings]]:
    """A function whose settings name empty databases in Postgres; they are dropped at the end of the module."""
    with empty_databases(settings, superuser) as make:
        yield make
