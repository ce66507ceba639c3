"""Functions of retention in the source: a proof before anything is deleted."""

from migrations.sql_files import sql_revision

revision, down_revision = "0006", "0005"
upgrade, downgrade = sql_revision(__file__)
