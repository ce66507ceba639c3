"""Minimum ages and legal holds, which role retention can't change."""

from migrations.sql_files import sql_revision

revision, down_revision = "0009", "0008"
upgrade, downgrade = sql_revision(__file__)
