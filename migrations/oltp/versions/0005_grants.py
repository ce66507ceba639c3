"""The rights of each role."""

from migrations.sql_files import sql_revision

revision, down_revision = "0005", "0004"
upgrade, downgrade = sql_revision(__file__)
