"""Generations side by side: which is which, the source's epochs, and how far each generation is complete and proven."""

from migrations.sql_files import sql_revision

revision, down_revision = "0004", "0003"
upgrade, downgrade = sql_revision(__file__)
