"""Rights on rows kept by repairs and on a generation's bookkeeping; locks that stay on rows."""

from migrations.sql_files import sql_revision

revision, down_revision = "0006", "0004"
upgrade, downgrade = sql_revision(__file__)
