"""A replay leaves no connection open that it has opened itself."""

import gc
import warnings
from collections.abc import Callable

from operations import migrate
from operations.replay import run
from operations.replay.cutover import opened
from operations.settings import Settings


def test_beginning_a_generation_closes_its_connection_to_the_source(empty: Callable[[], Settings]) -> None:
    """psycopg warns of each connection that is deleted while it is open."""
    settings = empty()
    migrate.migrate_oltp(settings)
    migrate.migrate_reporting(settings, 1)
    with warnings.catch_warnings(record=True) as caught, opened(settings) as reporting:
        warnings.simplefilter("always")
        assert run.begin(settings, reporting, epoch=None).number == 2
        gc.collect()
    assert [str(each.message) for each in caught if each.category is ResourceWarning] == []
