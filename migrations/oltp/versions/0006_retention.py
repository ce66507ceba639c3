"""What ageing needs of the source: proof before anything leaves."""

from migrations.sql_files import sql_revision

revision, down_revision = "0006", "0005"
upgrade, downgrade = sql_revision(__file__)
