"""Empty databases for tests that would harm the stack's own, or that must start from nothing."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from operations.settings import Settings

Connection = psycopg.Connection[Any]


@contextmanager
def empty_databases(settings: Settings, superuser: Connection) -> Iterator[Callable[[], Settings]]:
    """Give a function whose settings name two empty databases in Postgres; all of them are dropped at the end."""
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
