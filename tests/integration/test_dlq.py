"""Dead letters sent again on real Kafka and reporting: what lands, what a newer row outdates, what is dead again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from confluent_kafka.admin import NewTopic
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from messaging import clients
from messaging.dead_letters import DeadLetters, Record, stored
from messaging.decoding import Decoding
from operations import connections, migrate
from operations.cli import app
from operations.dlq import metrics
from operations.dlq import targets as opening
from operations.dlq.decisions import Journal, Verdict
from operations.dlq.letters import Letter, letters
from operations.dlq.redrive import Destination, RedriveOutcome, RedriveTargets, redrive
from operations.settings import Settings
from schemas.change import Change
from schemas.errors import BadRecord
from schemas.tables import ORDER_LINES, PRICE_HISTORY, Table
from schemas.topics import DEAD_LETTERS
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.reporting.postgres.driver import PostgresReporting
from streams.enrich import Enriched, enricher
from tests.support.archiving import Archiving, archiving
from tests.support.enrichment_world import World, now
from tests.support.eventually import eventually
from tests.support.landing import EPOCH, GENERATION, Landing, landing_line


class Desk:
    """Dead letters and decisions in topics of a test's own, and the targets of a redrive."""

    def __init__(self, settings: Settings, decoding: Decoding, tables: list[Table]) -> None:
        self.bootstrap = settings.kafka.bootstrap
        name = f"test_dlq_{uuid4().hex[:10]}"
        self.dead, self.decisions = f"{name}.dead-letters", f"{name}.decisions"
        self._admin = clients.admin(self.bootstrap)
        for made in self._admin.create_topics(
            [NewTopic(topic, 1, 1) for topic in (self.dead, self.decisions)]
        ).values():
            made.result()
        self.reporting = PostgresReporting(connections.reporting_conninfo(settings, "writer"), GENERATION)
        destination = Destination(number=GENERATION, epoch=1, tables=tables, reporting=self.reporting)

        def nowhere(_: object) -> Any:
            raise AssertionError("this test has no such way")

        self.targets = RedriveTargets(
            decoding=decoding,
            destinations=[destination],
            enrich=nowhere,
            archive=nowhere,
            republish_catalog_entry=nowhere,
        )
        self.journal = Journal(self.bootstrap, topic=self.decisions)

    def refuse(self, record: Record, worker: str) -> None:
        """Write a dead letter as a worker does."""
        dead_letters = DeadLetters(clients.producer(self.bootstrap), worker, topic=self.dead)
        dead_letters.send(record, BadRecord("an older version did not understand it"))
        dead_letters.confirm()

    def letters(self) -> list[Letter]:
        """Return the open letters."""
        return [each for each in letters(stored(self.bootstrap, topic=self.dead), self.journal.read()) if each.open]

    def redrive(self) -> list[Verdict]:
        """Redrive the open letters, and return the verdicts."""
        return [outcome.verdict for _, outcome in redrive(self.letters(), self.targets, self.journal, by="test")]

    def close(self) -> None:
        self.reporting.close()
        for gone in self._admin.delete_topics([self.dead, self.decisions]).values():
            gone.exception()


@pytest.fixture
def desk(settings: Settings) -> Iterator[Callable[[Decoding, list[Table]], Desk]]:
    migrate.migrate_reporting(settings, GENERATION)
    made: list[Desk] = []

    def make(decoding: Decoding, tables: list[Table]) -> Desk:
        made.append(Desk(settings, decoding, tables))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def line(settings: Settings) -> Iterator[Landing]:
    with landing_line(settings) as line:
        yield line


@contextmanager
def refusing(line: Landing, *statuses: str) -> Iterator[None]:
    """While reporting refuses orders of a status, by constraints of the operator's own."""
    table = f"reporting_g{GENERATION}.orders"
    with psycopg.connect(connections.reporting_conninfo(line.settings, "migrator"), autocommit=True) as connection:

        def alter(what: str) -> None:
            connection.execute(f"ALTER TABLE {table} {what}".encode())

        for status in statuses:
            check = f"tenant_id <> '{line.name}' OR status <> '{status}'"
            alter(f'ADD CONSTRAINT "{line.name} {status}" CHECK ({check})')
        try:
            yield
        finally:
            for status in statuses:
                alter(f'DROP CONSTRAINT "{line.name} {status}"')


def test_what_reporting_had_refused_lands_is_outdated_or_is_dead_again(line: Landing, desk) -> None:
    desk = desk(Decoding(line.registry, [line.table]), [line.table])
    letters = DeadLetters(line.producer, "report", topic=desk.dead)
    with refusing(line, "odd"):
        with refusing(line, "wrong"):
            for order in ("lands", "outdated"):
                line.put(order, status="wrong")
            line.put("dead", status="odd")
            worker = line.worker(letters=letters)
            line.drain(worker)
            line.put("outdated", status="shipped")
            line.drain(worker)
        assert line.statuses() == {"outdated": "shipped"}
        ends = clients.end_offsets(line.bootstrap, [line.topic])
        found = {each.record.key: each for each in desk.letters()}
        assert len(found) == 3

        outcomes = {letter.record.key: outcome for letter, outcome in _redriven(desk)}
        assert {line.envelopes.key(line.row(name)): verdict for name, verdict in EXPECTED.items()} == {
            key: outcome.verdict for key, outcome in outcomes.items()
        }
        assert line.statuses() == {"lands": "wrong", "outdated": "shipped"}
        assert clients.end_offsets(line.bootstrap, [line.topic]) == ends  # nothing goes back into a captured topic
        (left,) = desk.letters()
        assert left.record.key == line.envelopes.key(line.row("dead"))
        assert left.decision is not None and "odd" in left.decision.detail
    assert desk.redrive() == [Verdict.LANDED]
    assert line.statuses()["dead"] == "odd"
    assert desk.letters() == []


EXPECTED = {"lands": Verdict.LANDED, "outdated": Verdict.OUTDATED, "dead": Verdict.DEAD_AGAIN}


def _redriven(desk: Desk) -> list[tuple[Letter, RedriveOutcome]]:
    return list(redrive(desk.letters(), desk.targets, desk.journal, by="test"))


def test_a_redriven_row_gives_way_to_what_was_captured_after_it(line: Landing, desk) -> None:
    desk = desk(Decoding(line.registry, [line.table]), [line.table])
    letters = DeadLetters(line.producer, "report", topic=desk.dead)
    worker = line.worker(letters=letters)
    with refusing(line, "wrong"):
        line.put("a", status="wrong")
        line.drain(worker)
    line.put("a", status="paid")  # captured behind it, and not yet landed
    assert desk.redrive() == [Verdict.LANDED]
    assert line.statuses() == {"a": "wrong"}
    line.drain(worker)
    assert line.statuses() == {"a": "paid"}


def test_an_event_that_two_workers_refused_lands_and_is_archived_once(settings: Settings, desk) -> None:
    with archiving(settings) as archive, spooling(archive.store) as spool:
        desk = desk(Decoding(archive.registry, [archive.table]), [archive.table])
        batch = ArchiveBatch(spool)
        desk.targets = replace(
            desk.targets, archive=lambda change: opening.redrive_to_archive(archive.log(), batch, change)
        )
        good, bad = _event(archive, 3), replace(_event(archive, 4), value=b"junk")
        for record in (good, bad):
            desk.refuse(record, "report")
            desk.refuse(record, "archive")
        assert desk.redrive() == [Verdict.LANDED, Verdict.DEAD_AGAIN]
        change = archive_change(archive, good)
        assert desk.reporting.position_of(change.table, change.key) is not None
        assert archive.archived() == [change.key[-1]]

        desk.refuse(good, "archive")  # a worker that had died before it knew reads the record again
        assert desk.redrive() == [Verdict.LANDED, Verdict.DEAD_AGAIN]
        assert archive.archived() == [change.key[-1]]
        assert sum(file.rows for file in archive.log().manifest().files.values()) == 1


def _event(archive: Archiving, offset: int) -> Record:
    (event,) = archive.events(1, seed=offset)
    value = archive.outbox.value(event)
    return Record(
        topic=archive.topic, partition=0, offset=offset, timestamp=1, key=b"order", value=value, headers=list(EPOCH)
    )


def archive_change(archive: Archiving, record: Record) -> Change:
    decoding = Decoding(archive.registry, [archive.table])
    change = decoding.change(record.topic, record.key, record.value, record.headers, record.offset)
    assert change is not None
    return change


@pytest.fixture
def world(settings: Settings) -> Iterator[World]:
    world = World(settings.kafka.bootstrap, settings.registry.url)
    yield world
    world.close()


def test_a_line_that_enrichment_refused_is_enriched_as_of_its_price_date(world: World, desk) -> None:
    desk = desk(Decoding(world.registry, [ORDER_LINES]), [ORDER_LINES])
    tenant, at = f"test_dlq_{uuid4().hex[:8]}", now() - timedelta(hours=1)
    world.price((tenant, "lamp"), at - timedelta(days=1), "12.5000")
    world.beat(now())
    world.flush()

    def captured(offset: int, sku: str, order: str, value: bytes | None = None) -> Record:
        row = world.line((tenant, sku), order, at)
        value = value or world.lines.value("c", row, log=(offset, offset), at=at)
        (topic,) = ORDER_LINES.captured_topics
        key = world.lines.key(row)
        return Record(topic=topic, partition=0, offset=offset, timestamp=1, key=key, value=value, headers=list(EPOCH))

    with opening.read_catalog(world.wiring) as catalog:

        def enrich(change: Change) -> Enriched:
            return enricher(ORDER_LINES)(change, catalog)

        desk.targets = replace(desk.targets, enrich=enrich)
        for record in (
            captured(5, "lamp", "known"),
            captured(6, "unlisted", "unknown"),
            captured(7, "lamp", "bad", b"junk"),
            captured(9, "lamp", "known"),
            captured(8, "lamp", "known"),
        ):
            desk.refuse(record, "enrich")
        expected = [Verdict.LANDED, Verdict.UNDECIDED, Verdict.DEAD_AGAIN, Verdict.LANDED, Verdict.OUTDATED]
        assert desk.redrive() == expected
        assert lines(desk, tenant) == {"known": ("lamp", Decimal("12.5000"), 9), "unknown": (None, None, 6)}

        world.price((tenant, "unlisted"), at - timedelta(days=1), "3.0000", name="vase")
        world.flush()
        eventually(lambda: catalog.history((tenant, "unlisted")))
        assert desk.redrive() == [Verdict.LANDED, Verdict.DEAD_AGAIN]
        assert lines(desk, tenant)["unknown"] == ("vase", Decimal("3.0000"), 6)


def lines(desk: Desk, tenant: str) -> dict[str, tuple[str | None, Decimal | None, int]]:
    query = (
        f"SELECT order_id, product_name, list_price, _offset FROM reporting_g{GENERATION}.order_lines "
        "WHERE tenant_id = %s"
    )
    with desk.reporting._session.transaction() as transaction:
        return {order: (name, price, offset) for order, name, price, offset in transaction.query(query, (tenant,))}


def test_a_republished_catalog_entry_reaches_the_catalogs_readers(world: World, desk) -> None:
    table = replace(PRICE_HISTORY, schema=f"test_{uuid4().hex[:8]}")
    (topic,) = table.captured_topics
    decoding = Decoding(world.registry, [table])
    desk = desk(decoding, [table])
    desk.targets = replace(
        desk.targets,
        republish_catalog_entry=lambda record: opening.republish_catalog_entry(desk.bootstrap, decoding, record),
    )
    clients.admin(desk.bootstrap).create_topics([NewTopic(topic, 1, 1)])[topic].result()

    def refused(offset: int, key_and_value: tuple[bytes, bytes]) -> None:
        key, value = key_and_value
        record = Record(topic=topic, partition=0, offset=offset, timestamp=1, key=key, value=value, headers=list(EPOCH))
        desk.refuse(record, "enrich")

    product, at = ("tenant", "lamp"), now()
    refused(1, world.catalog.entry(product, at, Decimal("5.0000"), name="lamp", category="home"))
    refused(2, world.catalog.delete(product, at, at))
    refused(3, world.catalog.heartbeat(at))
    wiring = replace(world.wiring, catalog=topic, catalog_table=table)
    with opening.read_catalog(wiring) as catalog:
        assert desk.redrive() == [Verdict.LANDED, Verdict.DEAD_AGAIN, Verdict.OUTDATED]
        eventually(lambda: catalog.history(product))
    clients.admin(desk.bootstrap).delete_topics([topic])[topic].result()


def test_the_command_lists_shows_redrives_and_discards_with_person_and_reason(capture: Settings) -> None:
    bootstrap, name = capture.kafka.bootstrap, f"test-{uuid4().hex[:8]}"
    offset = uuid4().int >> 70
    record = Record(
        topic="shop.sales.payments",
        partition=0,
        offset=offset,
        timestamp=1,
        key=name.encode(),
        value=b"junk",
        headers=[],
    )
    dead_letters = DeadLetters(clients.producer(bootstrap), "report", topic=DEAD_LETTERS)
    dead_letters.send(record, BadRecord(f"{name} is not understood", entry="epoch-unknown"))
    dead_letters.confirm()
    origin = f"shop.sales.payments[0]@{offset}"

    def headrace(*arguments: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["dlq", *arguments])
        assert done.exit_code == code, done.output
        return done.output

    assert origin in headrace("ls", "--json")
    shown = headrace("show", origin)
    assert "junk" in shown and "docs/runbook.md#epoch-unknown" in shown and f"{name} is not understood" in shown
    assert '"dead_again": 1' in headrace("redrive", "--key", name, "--json", code=1)
    assert "expected Avro" in headrace("show", origin)
    headrace("discard", origin, code=2)  # a reason is asked for
    headrace("discard", "--reason", "a test's own", code=2)  # and which
    assert headrace("discard", origin, "--reason", "a test's own", "--by", "ann") == "1 discarded\n"
    assert origin not in headrace("ls", "--json")
    assert origin in headrace("ls", "--json", "--all")
    *_, last = [each for each in Journal(bootstrap).read() if each.offset == offset]
    assert (last.verdict, last.by, last.detail) == (Verdict.DISCARDED, "ann", "a test's own")
    assert headrace("redrive", "--key", name) == "Nothing to do.\n"


def test_the_gauge_counts_the_open_ones_and_forgets_what_was_settled(capture: Settings, monkeypatch) -> None:
    monkeypatch.setattr(metrics, "EVERY_S", 0.1)
    bootstrap, topic = capture.kafka.bootstrap, f"shop.test.{uuid4().hex[:8]}"
    record = Record(topic=topic, partition=0, offset=5, timestamp=1, key=b"k", value=b"junk", headers=[])

    def told() -> float | None:
        return REGISTRY.get_sample_value("headrace_dead_letters_open", {"topic": topic, "error": "BadRecord"})

    with metrics.update_open_gauge(bootstrap):
        dead_letters = DeadLetters(clients.producer(bootstrap), "report", topic=DEAD_LETTERS)
        dead_letters.send(record, BadRecord("not understood"))
        dead_letters.confirm()
        eventually(lambda: told() == 1)
        discarded = CliRunner().invoke(app, ["dlq", "discard", "--topic", topic, "--reason", "a test's own"])
        assert discarded.output == "1 discarded\n"
        eventually(lambda: told() is None)
