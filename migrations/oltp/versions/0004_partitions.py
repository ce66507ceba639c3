"""Partitions made ahead, each leaf fit for capture."""

from migrations.sql_files import sql_revision

revision, down_revision = "0004", "0003"
upgrade, downgrade = sql_revision(__file__)
