"""Alembic's environment for every SQL database. It uses the connection that it is given and reads no configuration.

There is no alembic.ini, so no file holds a URL or a password. operations/migrate.py passes a connection that holds the
migration lock.
"""

from pathlib import Path
from typing import Any

from alembic import context

VERSION_TABLE = "schema_version"


def run() -> None:
    """Apply the revisions to the connection in the configuration's attributes (see chain.py)."""
    given = context.config.attributes

    def record(ctx: Any, step: Any, heads: Any, run_args: Any) -> None:
        given["applied"].append(Path(step.up_revision.path).stem)

    context.configure(
        connection=given["connection"],
        version_table=VERSION_TABLE,
        version_table_schema=given["schema"],
        on_version_apply=record,
        transaction_per_migration=True,  # Alembic ignores it where the connection has an open transaction
    )
    with context.begin_transaction():
        context.run_migrations()
