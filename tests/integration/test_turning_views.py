"""Readers' views turn from one generation to another in Postgres; tests/support/cutover.py says what must hold."""

import threading
from collections.abc import Callable, Iterator

import pytest

from operations import connections
from operations.settings import Settings
from tests.support import cutover
from tests.support.cutover import FIRST, SECOND, Turning
from tests.support.eventually import eventually


@pytest.fixture(scope="module")
def at(empty: Callable[[], Settings]) -> Iterator[Turning]:
    with cutover.turning(empty()) as made:
        yield made


def test_readers_see_another_generation_and_then_the_first_again(at: Turning):
    cutover.turned_and_back(at)


def test_what_ends_before_the_commit_changes_nothing(at: Turning, monkeypatch: pytest.MonkeyPatch):
    cutover.all_or_nothing(at, monkeypatch)


def test_a_reader_that_never_pauses_sees_no_mix_and_no_error(at: Turning):
    cutover.never_a_mix(at, times=10)


def test_a_transaction_that_reads_on_keeps_what_it_saw_and_the_views_turn_when_it_has_ended(at: Turning):
    """It reads its views in the other order than they are turned, so both wait for each other: who gives up is never
    the reader."""
    with connections.reporting(at.settings, "reader") as reader:
        reader.autocommit = False
        assert reader.execute("SELECT count(*) FROM report.payments").fetchall() == [(FIRST[1],)]
        thread = threading.Thread(target=at.swap_views, args=(2,))
        thread.start()
        with connections.reporting(at.settings, "migrator") as owner:
            waits = "SELECT 1 FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'"
            eventually(lambda: owner.execute(waits).fetchall())
        assert reader.execute("SELECT count(*) FROM report.orders").fetchall() == [(FIRST[0],)]
        reader.commit()
        thread.join(cutover.SHOW_S)
        assert at.counts() == SECOND
        assert reader.execute("SELECT count(*) FROM report.payments").fetchall() == [(SECOND[1],)]
        reader.commit()
    at.swap_views(1)


def test_nobody_lands_in_what_readers_see_while_it_is_turned(at: Turning):
    """Else a reader could see a row there that the other generation has not landed yet: a count that falls."""
    with connections.reporting(at.settings, "writer") as writer:
        writer.execute("SET lock_timeout = 50")

        def settle() -> None:
            with pytest.raises(Exception, match="lock timeout"):
                writer.execute("UPDATE reporting_g1.checkpoint SET next_offset = 1")

        at.swap_views(2, settle)
        at.swap_views(1)
        writer.execute("UPDATE reporting_g1.checkpoint SET next_offset = 1")


def test_one_replay_at_a_time(at: Turning):
    cutover.one_at_a_time(at)


def test_a_dropped_generation_leaves_no_table_and_its_number_to_nobody(at: Turning):
    cutover.dropped(at)
