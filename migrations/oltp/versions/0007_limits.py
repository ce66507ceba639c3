"""What a record can carry, and that events don't change: refused where their writer learns of it."""

from migrations.sql_files import sql_revision

revision, down_revision = "0007", "0006"
upgrade, downgrade = sql_revision(__file__)
