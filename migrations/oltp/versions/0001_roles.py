"""Roles that may connect to the source."""

from migrations.sql_files import sql_revision

revision, down_revision = "0001", None
upgrade, downgrade = sql_revision(__file__)
