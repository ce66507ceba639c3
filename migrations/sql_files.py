"""Shared by all SQL revisions: each runs the plain SQL file of the same name beside it.

Revision files only tell Alembic the order. The changes are SQL that a reviewer, a linter and a database administrator
can read.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from alembic import context, op

from migrations.errors import ForwardOnly, MigrationFailed
from migrations.server import one_line

GENERATION = "reporting_gN"
_GO = re.compile(r"^\s*GO\s*;?\s*$", re.IGNORECASE | re.MULTILINE)


def sql_revision(revision_file: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return `upgrade` and `downgrade` of the revision in `revision_file`: run its `.sql` file, and refuse."""
    path = Path(revision_file).with_suffix(".sql")
    name = "/".join(part for part in path.parts[path.parts.index("migrations") :] if part != "versions")

    def upgrade() -> None:
        driver: Any = op.get_bind().dialect.dbapi
        cursor = op.get_bind().connection.cursor()
        try:
            for batch in batches(path.read_text(encoding="utf-8"), generation=_generation()):
                cursor.execute(batch)
        except driver.Error as error:
            raise MigrationFailed(f"{name}: {one_line(error)}; see docs/runbook.md#migration-failed") from error
        finally:
            cursor.close()

    def downgrade() -> None:
        raise ForwardOnly(f"{name}: migrations only go forward; undo one with a new one, or restore a backup")

    return upgrade, downgrade


def batches(text: str, *, generation: str | None = None) -> Iterator[str]:
    """Yield the batches to send: the whole file, or each part between lines that say GO (T-SQL).

    `reporting_gN` stands for the schema of the generation that is being migrated.
    """
    if generation is not None:
        text = text.replace(GENERATION, generation)
    return (batch.strip() for batch in _GO.split(text) if batch.strip())


def _generation() -> str | None:
    generation: Any = context.config.attributes.get("generation")
    return None if generation is None else str(generation)
