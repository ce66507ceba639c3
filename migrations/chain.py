"""Run Alembic on one schema's chain of revisions without a configuration file."""

from pathlib import Path
from threading import Lock

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent
_ALEMBIC_IS_GLOBAL = Lock()  # alembic.context and alembic.op are proxies of the whole process


def upgrade(
    connection: Connection, chain: str, *, schema: str, generation: str | None = None, to: str = "head"
) -> list[str]:
    """Apply the missing revisions of `migrations/<chain>`, up to revision `to`, and return their names.

    The revisions run in the connection's open transaction. Without an open transaction, each revision is committed by
    itself, so that its locks end with it. `schema` holds the version table.

    Raises:
        MigrationFailed: a revision was refused.
    """
    applied: list[str] = []
    config = Config(
        attributes={"connection": connection, "schema": schema, "generation": generation, "applied": applied}
    )
    config.set_main_option("script_location", str(FOLDER / chain).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    within = connection.in_transaction()
    with _ALEMBIC_IS_GLOBAL:
        command.upgrade(config, to)
    if not within:
        connection.commit()  # Alembic's reads begin a transaction, too
    return applied
