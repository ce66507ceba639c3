"""Cutoffs of retention in reporting, and the role that may delete."""

from migrations.sql_files import sql_revision

revision, down_revision = "0003", "0002"
upgrade, downgrade = sql_revision(__file__)
