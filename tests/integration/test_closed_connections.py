"""A command leaves no connection open that it has opened itself. psycopg warns of each that is deleted while it is."""

import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from pydantic import SecretStr

from operations import migrate
from operations.probe import connect_probe
from operations.replay import run
from operations.replay.cutover import opened
from operations.settings import Settings
from schemas.errors import HeadraceError


@contextmanager
def no_connection_left_open() -> Iterator[None]:
    """Fail if a connection is deleted during the block while it is open."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        gc.collect()
        caught.clear()  # what earlier tests left
        yield
        gc.collect()
    assert [str(each.message) for each in caught if each.category is ResourceWarning] == []


def test_beginning_a_generation_closes_its_connection_to_the_source(empty: Callable[[], Settings]) -> None:
    settings = empty()
    migrate.migrate_oltp(settings)
    migrate.migrate_reporting(settings, 1)
    with opened(settings) as reporting, no_connection_left_open():
        assert run.begin(settings, reporting, epoch=None).number == 2


def test_a_probe_that_the_source_refuses_closes_its_connection_to_reporting(settings: Settings) -> None:
    oltp = settings.oltp.model_copy(update={"reporter_reader_password": SecretStr("wrong")})
    with no_connection_left_open(), pytest.raises(HeadraceError, match="login refused for reporter_reader"):
        connect_probe(settings.model_copy(update={"oltp": oltp}))
