"""Real Kafka and Postgres: a record that comes late is its key's last, and is found."""

from collections.abc import Iterator

import psycopg
import pytest

from messaging.decoding import Decoding
from operations import connections, migrate
from operations.databases.postgres import PostgresReport
from operations.settings import Settings
from operations.verify.overtaken import Overtaken, find_overtaken
from tests.support.landing import EPOCH, GENERATION, Landing, landing_line


@pytest.fixture(scope="module", autouse=True)
def generation(settings: Settings) -> None:
    migrate.migrate_reporting(settings, GENERATION)


@pytest.fixture
def line(settings: Settings) -> Iterator[Landing]:
    with landing_line(settings) as opened:
        yield opened


def found(line: Landing) -> list[Overtaken]:
    with psycopg.connect(connections.reporting_conninfo(line.settings, "writer"), autocommit=True) as connection:
        report = PostgresReport(connection, GENERATION)
        return find_overtaken(line.bootstrap, report, Decoding(line.registry, [line.table]), [line.table])


def test_a_record_that_a_paused_task_sends_late_is_found_though_the_report_is_right(line: Landing) -> None:
    key, late = line.envelopes.key(line.row("a")), line.value("a", status="old")
    line.send(key, late)
    line.put("a", status="new")
    line.put("b")
    line.drain(line.worker())
    assert found(line) == []
    line.send(key, late)
    line.drain(line.workers[0])
    assert line.statuses() == {"a": "new", "b": "placed"}
    (one,) = found(line)
    assert one.key[2] == "a" and one.last.offset > one.landed.position.offset
    assert "is older than the row" in str(one)


def test_a_late_record_of_a_deleted_row_is_found(line: Landing) -> None:
    """A rebuild would bring the row back."""
    key, late = line.envelopes.key(line.row("a")), line.value("a")
    line.send(key, late)
    line.put("a", "d")
    line.send(key, late)
    line.drain(line.worker())
    assert line.statuses() == {"a": "(deleted)"}
    assert [one.key[2] for one in found(line)] == ["a"]


def test_repeats_dead_letters_and_what_has_not_landed_yet_are_not(line: Landing) -> None:
    worker = line.worker()
    newest = line.value("a")
    for value in (newest, newest):
        line.send(line.envelopes.key(line.row("a")), value)
    line.send(line.envelopes.key(line.row("a")), b"junk", EPOCH)
    line.drain(worker)
    line.put("a", status="on its way")
    assert found(line) == []


def test_a_key_that_retention_has_taken_out_is_not(line: Landing) -> None:
    key, late = line.envelopes.key(line.row("a")), line.value("a", status="old")
    line.put("a", status="new")
    line.send(key, late)
    line.send(key, None)
    line.drain(line.worker())
    assert found(line) == []
