"""A retention run on real servers leaves nothing open."""

import gc
import warnings

import psycopg
from rich.console import Console

from operations.retention import run as retention
from operations.settings import Settings


def sessions_of(superuser: psycopg.Connection[tuple[int]], settings: Settings) -> set[int]:
    """Return the Postgres backends that serve Headrace's sessions on the source and on reporting."""
    databases = [settings.oltp.database, settings.reporting.database]
    found = superuser.execute(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'headrace' AND datname = ANY (%s)", [databases]
    )
    return {pid for (pid,) in found}


def test_a_run_closes_every_connection(capture: Settings, superuser: psycopg.Connection[tuple[int]]) -> None:
    gc.collect()  # what earlier tests have left
    before = sessions_of(superuser, capture)
    with warnings.catch_warnings(record=True) as warned:  # psycopg warns of a connection that is left to the collector
        warnings.simplefilter("always", ResourceWarning)
        retention.run(capture, Console(quiet=True), apply=False, held=frozenset(), json=False)
        gc.collect()
    assert [str(each.message) for each in warned] == []
    assert sessions_of(superuser, capture) <= before
