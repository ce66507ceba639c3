"""The database's roles, and the schema that readers see."""

from migrations.sql_files import sql_revision

revision, down_revision = "0001", None
upgrade, downgrade = sql_revision(__file__)
