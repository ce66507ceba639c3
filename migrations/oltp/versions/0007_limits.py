"""Limits of values, and immutable events: the source refuses a violation in the writer's transaction."""

from migrations.sql_files import sql_revision

revision, down_revision = "0007", "0006"
upgrade, downgrade = sql_revision(__file__)
