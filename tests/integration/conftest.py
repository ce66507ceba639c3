"""Databases of a test module's own, for what would harm the stack's or must begin from nothing."""

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from operations.settings import Settings

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
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
    """Makes settings that name empty databases in Postgres, which are dropped at the end."""
    made: list[str] = []

    def database(owner: str) -> dict[str, str]:
        name = f"test_migrations_{secrets.token_hex(4)}"
        superuser.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(owner)))
        made.append(name)
        return {"database": name}

    def make() -> Settings:
        return settings.model_copy(
            update={
                "oltp": settings.oltp.model_copy(update=database("migrator")),
                "reporting": settings.reporting.model_copy(update=database("reporting_migrator")),
            }
        )

    yield make
    for name in made:
        superuser.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
