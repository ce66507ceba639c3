"""The shop's tables, the outbox and the sessions."""

from migrations.sql_files import sql_revision

revision, down_revision = "0002", "0001"
upgrade, downgrade = sql_revision(__file__)
