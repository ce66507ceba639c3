"""Who may read and erase what repairs have kept, who may touch a generation's bookkeeping; locks that stay on rows."""

from migrations.sql_files import sql_revision

revision, down_revision = "0006", "0004"
upgrade, downgrade = sql_revision(__file__)
