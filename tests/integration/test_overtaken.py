"""Real Kafka and Postgres: a record that comes late is its key's last, and is found."""

import psycopg

from messaging.decoding import Decoding
from operations import connections
from operations.databases.postgres import PostgresReport
from operations.verify.overtaken import Overtaken, find_overtaken
from tests.support.landing import EPOCH, GENERATION, Landing


def found(landing: Landing) -> list[Overtaken]:
    with psycopg.connect(connections.reporting_conninfo(landing.settings, "writer"), autocommit=True) as connection:
        report = PostgresReport(connection, GENERATION)
        return find_overtaken(landing.bootstrap, report, Decoding(landing.registry, [landing.table]), [landing.table])


def test_a_record_that_a_paused_task_sends_late_is_found_though_the_report_is_right(landing: Landing) -> None:
    key, late = landing.envelopes.key(landing.row("a")), landing.value("a", status="old")
    landing.send(key, late)
    landing.put("a", status="new")
    landing.put("b")
    landing.drain(landing.worker())
    assert found(landing) == []
    landing.send(key, late)
    landing.drain(landing.workers[0])
    assert landing.statuses() == {"a": "new", "b": "placed"}
    (one,) = found(landing)
    assert one.key[2] == "a" and one.last.offset > one.landed.position.offset
    assert "is older than the row" in str(one)


def test_a_late_record_of_a_deleted_row_is_found(landing: Landing) -> None:
    """A rebuild would bring the row back."""
    key, late = landing.envelopes.key(landing.row("a")), landing.value("a")
    landing.send(key, late)
    landing.put("a", "d")
    landing.send(key, late)
    landing.drain(landing.worker())
    assert landing.statuses() == {"a": "(deleted)"}
    assert [one.key[2] for one in found(landing)] == ["a"]


def test_repeats_dead_letters_and_what_has_not_landed_yet_are_not(landing: Landing) -> None:
    worker = landing.worker()
    newest = landing.value("a")
    for value in (newest, newest):
        landing.send(landing.envelopes.key(landing.row("a")), value)
    landing.send(landing.envelopes.key(landing.row("a")), b"junk", EPOCH)
    landing.drain(worker)
    landing.put("a", status="on its way")
    assert found(landing) == []


def test_a_key_that_retention_has_taken_out_is_not(landing: Landing) -> None:
    key, late = landing.envelopes.key(landing.row("a")), landing.value("a", status="old")
    landing.put("a", status="new")
    landing.send(key, late)
    landing.send(key, None)
    landing.drain(landing.worker())
    assert found(landing) == []
