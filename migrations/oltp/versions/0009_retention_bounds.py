"""How young something may leave the source, and whose data stays: not for role retention to decide."""

from migrations.sql_files import sql_revision

revision, down_revision = "0009", "0008"
upgrade, downgrade = sql_revision(__file__)
