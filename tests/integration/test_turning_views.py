"""A cutover swaps the readers' views in Postgres; tests/support/cutover.py has the steps of both databases."""

import threading
from collections.abc import Callable, Iterator

import pytest

from operations import connections
from operations.settings import Settings
from tests.support import cutover
from tests.support.cutover import FIRST, SECOND, Cutover
from tests.support.eventually import eventually


@pytest.fixture(scope="module")
def at(empty: Callable[[], Settings]) -> Iterator[Cutover]:
    with cutover.two_generations(empty()) as made:
        yield made


def test_readers_see_another_generation_and_then_the_first_again(at: Cutover):
    cutover.swapped_and_back(at)


def test_what_ends_before_the_commit_changes_nothing(at: Cutover, monkeypatch: pytest.MonkeyPatch):
    cutover.all_or_nothing(at, monkeypatch)


def test_a_reader_that_never_pauses_sees_no_mix_and_no_error(at: Cutover):
    cutover.never_a_mix(at, times=10)


def test_a_transaction_that_reads_on_keeps_what_it_saw_and_the_views_are_swapped_when_it_has_ended(at: Cutover):
    """The transaction reads the views in another order than the cutover swaps them, which is a deadlock: the cutover
    gives up, never the reader."""
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
        thread.join(cutover.SWAP_S)
        assert at.counts() == SECOND
        assert reader.execute("SELECT count(*) FROM report.payments").fetchall() == [(SECOND[1],)]
        reader.commit()
    at.swap_views(1)


def test_no_worker_lands_in_the_live_generation_during_a_cutover(at: Cutover):
    """Else a reader could see a row there that the other generation does not have yet: a count that falls."""
    with connections.reporting(at.settings, "writer") as writer:
        writer.execute("SET lock_timeout = 50")

        def catch_up() -> None:
            with pytest.raises(Exception, match="lock timeout"):
                writer.execute("UPDATE reporting_g1.checkpoint SET next_offset = 1")

        at.swap_views(2, catch_up)
        at.swap_views(1)
        writer.execute("UPDATE reporting_g1.checkpoint SET next_offset = 1")


def test_one_replay_at_a_time(at: Cutover):
    cutover.one_at_a_time(at)


def test_a_dropped_generation_leaves_no_table_and_its_number_is_never_used_again(at: Cutover):
    cutover.dropped(at)
