"""A generation's tables and checkpoint."""

from migrations.sql_files import sql_revision

revision, down_revision = "0002", "0001"
upgrade, downgrade = sql_revision(__file__)
