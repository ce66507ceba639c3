"""A cutover swaps the readers' views in SQL Server, as tests/integration/test_turning_views.py shows for Postgres.

It runs where HEADRACE_TEST_SQLSERVER is set, as test_migrations_sqlserver.py does.
"""

import os
from collections.abc import Iterator

import pytest

from operations.generations import State
from operations.replay.cutover import LOCK_MS
from operations.settings import Settings
from tests.support import cutover
from tests.support.cutover import Cutover
from tests.support.sqlserver import empty, reporting


@pytest.fixture(scope="module")
def at() -> Iterator[Cutover]:
    settings = Settings.model_construct(reporting=reporting(os.environ["HEADRACE_TEST_SQLSERVER"]))
    with empty(settings.reporting), cutover.two_generations(settings) as made:
        yield made


def test_readers_see_another_generation_and_then_the_first_again(at: Cutover):
    cutover.swapped_and_back(at)


def test_what_ends_before_the_commit_changes_nothing(at: Cutover, monkeypatch: pytest.MonkeyPatch):
    cutover.all_or_nothing(at, monkeypatch)


def test_a_reader_that_never_pauses_sees_no_mix_and_no_error(at: Cutover):
    cutover.never_a_mix(at, times=3)


def test_the_limit_of_a_cutovers_lock_waits_does_not_outlive_it(at: Cutover):
    at.swap_views(2)
    at.swap_views(1)
    assert at.states()[1] is State.LIVE
    connection = at.reporting._connection
    with connection.begin():
        assert connection.exec_driver_sql("SELECT @@LOCK_TIMEOUT").scalar_one() == LOCK_MS


def test_one_replay_at_a_time(at: Cutover):
    cutover.one_at_a_time(at)


def test_a_dropped_generation_leaves_no_table_and_its_number_is_never_used_again(at: Cutover):
    cutover.dropped(at)
