"""Errors of migrations."""

from schemas.errors import HeadraceError


class MigrationFailed(HeadraceError):
    """A migration was not applied. In Postgres and SQL Server nothing of it remains; run it again."""


class ForwardOnly(HeadraceError):
    """Migrations only go forward: undo one with a new one, or restore a backup."""
