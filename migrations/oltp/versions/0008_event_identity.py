"""One event for each tenant, day and event id."""

from migrations.sql_files import sql_revision

revision, down_revision = "0008", "0007"
upgrade, downgrade = sql_revision(__file__)
