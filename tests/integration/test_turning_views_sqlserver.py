"""Readers' views turn from one generation to another in SQL Server, as tests/integration/test_turning_views.py has it.

Selected as test_migrations_sqlserver.py is."""

import os
from collections.abc import Iterator

import pytest

from operations.generations import State
from operations.replay.cutover import LOCK_MS
from operations.settings import Settings
from tests.support import cutover
from tests.support.cutover import Turning
from tests.support.sqlserver import empty, reporting


@pytest.fixture(scope="module")
def at() -> Iterator[Turning]:
    settings = Settings.model_construct(reporting=reporting(os.environ["HEADRACE_TEST_SQLSERVER"]))
    with empty(settings.reporting), cutover.turning(settings) as made:
        yield made


def test_readers_see_another_generation_and_then_the_first_again(at: Turning):
    cutover.turned_and_back(at)


def test_what_ends_before_the_commit_changes_nothing(at: Turning, monkeypatch: pytest.MonkeyPatch):
    cutover.all_or_nothing(at, monkeypatch)


def test_a_reader_that_never_pauses_sees_no_mix_and_no_error(at: Turning):
    cutover.never_a_mix(at, times=3)


def test_how_long_turning_waits_for_a_view_does_not_outlive_it(at: Turning):
    at.swap_views(2)
    at.swap_views(1)
    assert at.states()[1] is State.LIVE
    connection = at.reporting._connection
    with connection.begin():
        assert connection.exec_driver_sql("SELECT @@LOCK_TIMEOUT").scalar_one() == LOCK_MS


def test_one_replay_at_a_time(at: Turning):
    cutover.one_at_a_time(at)


def test_a_dropped_generation_leaves_no_table_and_its_number_to_nobody(at: Turning):
    cutover.dropped(at)
