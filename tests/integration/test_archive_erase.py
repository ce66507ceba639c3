"""An erasure deletes all records of a person from every store for good, and no other person's records."""

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import orjson
import psycopg
import pytest
from psycopg import sql
from rich.console import Console

from messaging import dead_letters
from messaging.decoding import Decoding
from operations import connections
from operations.archive.erase import ErasureResult, SubjectErasure
from operations.archive.erase_event import erase_event
from operations.archive.source_personal_data import SourcePersonalData
from operations.migrate import make_partitions, migrate_reporting
from operations.retention.source import OltpRetention
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.failpoints import FailPoint
from schemas.tables import EVENTS, ORDERS
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.erasure import ERASURES, Eraser, read_erasure_records
from sinks.archive.files import verify_file
from sinks.archive.layout import bucket
from sinks.archive.log import Log, Superseded
from sinks.archive.manifest import Kind
from sinks.archive.reader import distinct, key_of
from sinks.archive.subject import Subject
from sinks.reporting.worker import SinkWorker
from tests.conftest import ROOT
from tests.support.archive_killed import run_killed
from tests.support.archiving import BEGIN, Archiving, archiving
from tests.support.eventually import eventually

PERSON = "customer-secret"
REBUILT = 75  # a generation of reporting that lands everything once more
Event = dict[str, Any]


@dataclass
class Erasable:
    """An archive, and a tenant whose customers' events are archived, land in reporting, and are in the outbox."""

    archive: Archiving
    settings: Settings
    subject: Subject = field(default_factory=lambda: Subject(f"tenant-{uuid4().hex[:8]}", PERSON))

    def events(self, order: str, customer: str, tenant: str | None = None, seed: int = 1) -> list[Event]:
        """Return an order's three events, of which only the first names the customer."""
        events = self.archive.events(3, seed=seed)
        for event, kind in zip(events, ("OrderPlaced", "OrderShipped", "PaymentAuthorized"), strict=True):
            payload = {"order_id": order} | ({"customer_id": customer} if kind == "OrderPlaced" else {})
            event |= {
                "event_id": str(uuid4()),
                "tenant_id": tenant or self.subject.tenant,
                "aggregate_id": f"{order}-payment" if kind == "PaymentAuthorized" else order,
                "event_type": kind,
                "payload": orjson.dumps(payload).decode(),
            }
        return events

    def store_outbox(self, events: list[Event]) -> None:
        make_partitions(self.settings, BEGIN.date(), BEGIN.date())
        with connections.oltp(self.settings, "app_writer") as connection:
            for event in events:
                columns = sql.SQL(", ").join(map(sql.Identifier, event))
                values = sql.SQL(", ").join([sql.Placeholder()] * len(event))
                connection.execute(
                    sql.SQL("INSERT INTO sales.outbox_events ({}) VALUES ({})").format(columns, values),
                    list(event.values()),
                )

    def outbox(self) -> set[str]:
        query = "SELECT event_id::text FROM sales.outbox_events WHERE tenant_id = %s"
        return self._ids(connections.oltp(self.settings, "retention"), query)

    def reported(self) -> set[str]:
        query = (
            f"SELECT event_id::text FROM reporting_g{self.settings.reporting.generation}.events WHERE tenant_id = %s"
        )
        return self._ids(connections.reporting(self.settings, "writer"), query)

    def _ids(self, connection: psycopg.Connection[Any], query: str) -> set[str]:
        with connection:
            return {id_ for (id_,) in connection.execute(query.encode(), [self.subject.tenant])}

    def reporter(self) -> SinkWorker:
        archive = self.archive
        letters = dead_letters.DeadLetters(archive.producer, "test", topic=archive.dead_letter_topic)
        worker = SinkWorker(
            bootstrap=archive.bootstrap,
            group=f"{archive.name}-report-{uuid4().hex[:6]}",
            reporting=connections.landing(self.settings),
            decoding=Decoding(archive.registry, [archive.table]),
            dead_letters=letters,
            tables=[archive.table],
        )
        archive.closing.callback(worker.close)
        return worker

    def archive_orders(self, orders: dict[str, str], tenant: str | None = None) -> None:
        """Rows of orders, as retention archives them; order → customer."""
        month = datetime(2026, 8, 1, tzinfo=UTC)
        with spooling(self.archive.store) as spool:
            batch = ArchiveBatch(spool)
            for order, customer in orders.items():
                row: dict[str, Any] = dict.fromkeys((column.name for column in ORDERS.columns), None)
                row |= {column.name: "x" for column in ORDERS.columns if not column.nullable}
                row |= {"tenant_id": tenant or self.subject.tenant, "order_id": order, "customer_id": customer}
                row |= {"order_month": month.date(), "total": Decimal("1.0000"), "placed_at": month}
                row |= {"created_at": month, "updated_at": month}
                batch.file(ORDERS, row["tenant_id"], month.date()).write(key_of(ORDERS)(row), row, month)
            log = self.archive.log()
            log.commit(log.draft(Kind.APPEND, added=batch.publish(log.store)))

    def orders(self) -> set[str]:
        folders = self.archive.log().manifest().folders(ORDERS.name)
        return {row["order_id"] for files in folders.values() for row in distinct(self.archive.store, ORDERS, files)}

    def keep_repaired(self, rows: list[tuple[str, Event]]) -> None:
        with connections.reporting(self.settings, "writer") as connection:
            for table, row in rows:
                connection.execute(
                    "INSERT INTO headrace.repair VALUES (now(), 'test', 1, %s, '[]', %s)",
                    (table, orjson.dumps(row).decode()),
                )

    def repaired(self) -> set[tuple[str, str]]:
        with connections.reporting(self.settings, "retention") as connection:
            rows = connection.execute("SELECT table_name, old_row FROM headrace.repair").fetchall()
        kept = [(table, orjson.loads(row)) for table, row in rows]
        return {
            (table, row.get("order_id") or row["aggregate_id"])
            for table, row in kept
            if row["tenant_id"] == self.subject.tenant
        }

    def erase(self, by: str = "somebody") -> ErasureResult:
        connection = connections.oltp(self.settings, "retention")
        tables = [self.archive.table, ORDERS]
        with spooling(self.archive.store) as spool, connection:
            eraser = Eraser(Log(self.archive.store, by), self.subject, spool, tables=tables)
            hot = SourcePersonalData(connection, self.subject, tables)
            reporting = connections.retention_stores(self.settings)
            try:
                return SubjectErasure(eraser, hot, OltpRetention(connection), reporting, tables).erase()
            finally:
                for each in reporting:
                    each.close()

    def erase_event(self, event: Event) -> None:
        at = self.settings.archive.model_copy(update={"url": self.archive.url})
        settings = self.settings.model_copy(update={"archive": at})
        out = Console(file=StringIO())
        erase_event(settings, out, self.subject.tenant, event["event_id"], by="somebody", confirm=str)

    def in_generation(self, number: int) -> "Erasable":
        """Return the same shop with another generation of reporting."""
        migrate_reporting(self.settings, number)
        return replace(self, settings=self.settings.of_generation(number))


@pytest.fixture
def shop(settings: Settings) -> Iterator[Erasable]:
    with archiving(settings) as archive:
        yield Erasable(archive, settings)


def ids(events: list[Event]) -> set[str]:
    return {event["event_id"] for event in events}


def neighbour(tenant: str) -> str:
    """Another tenant of the same bucket."""
    return next(name for name in (f"n-{number}" for number in itertools.count()) if bucket(name) == bucket(tenant))


def test_all_records_of_a_person_are_erased_everywhere_and_no_others(shop: Erasable):
    theirs = shop.events("o-1", PERSON) + shop.events("o-2", PERSON, seed=2)
    others = shop.events("o-3", "somebody-else", seed=3)
    next_door = shop.events("o-1", PERSON, tenant=neighbour(shop.subject.tenant), seed=4)
    shop.store_outbox(theirs + others)
    shop.archive.send(theirs + others + next_door)
    shop.archive.drain(shop.archive.worker())
    shop.archive_orders({"o-1": PERSON, "o-3": "somebody-else"})
    reporter = shop.reporter()
    eventually(lambda: reporter.turn(0.2) or shop.reported() == ids(theirs + others))
    before = shop.archive.log().manifest().files.keys() | set()

    done = shop.erase()

    assert (done.rows, done.outbox, sum(done.reporting.values())) == (len(theirs) + 1, len(theirs), len(theirs))
    assert set(shop.archive.archived()) == ids(others + next_door)
    assert shop.orders() == {"o-3"}
    assert shop.outbox() == shop.reported() == ids(others)
    manifest = shop.archive.log().manifest()
    assert sum(file.erased for file in manifest.files.values()) > 0
    for file in manifest.files.values():
        verify_file(shop.archive.store, file)
    lying = shop.archive.store.sizes("events").keys() | shop.archive.store.sizes("orders").keys()
    assert lying == manifest.files.keys() != before


def test_what_repairs_took_out_of_reporting_goes_with_the_person(shop: Erasable):
    theirs, others = shop.events("o-1", PERSON), shop.events("o-2", "somebody", seed=2)
    shop.store_outbox([*theirs, *others])
    order = {"tenant_id": shop.subject.tenant, "order_month": "2026-08-01", "order_id": "o-1", "customer_id": PERSON}
    kept = [("orders", order), ("orders", order | {"order_id": "o-2", "customer_id": "somebody"})]
    kept += [("events", {name: str(value) for name, value in event.items()}) for event in (theirs[1], others[1])]
    shop.keep_repaired(kept)
    assert shop.erase().repaired == 2
    assert shop.repaired() == {("orders", "o-2"), ("events", "o-2")}


def test_an_erasure_record_has_the_requester_and_time_and_not_the_person(shop: Erasable):
    theirs = shop.events("o-1", PERSON)
    shop.archive.send(theirs)
    shop.archive.drain(shop.archive.worker())
    shop.erase(by="the data protection officer")
    (erasure,) = shop.archive.log().manifest().erasures
    assert set(erasure.events["events"]) == ids(theirs)
    assert erasure.subject_sha256 == shop.subject.sha256
    (tombstone,) = read_erasure_records(shop.archive.store)
    assert (tombstone.by, tombstone.erasure) == ("the data protection officer", erasure)
    for folder in ("manifest", ERASURES):
        for name in shop.archive.store.sizes(folder):
            with shop.archive.store.open(name) as stream:
                assert PERSON.encode() not in stream.read()


def test_what_was_erased_is_neither_archived_nor_reported_again(shop: Erasable):
    theirs, others = shop.events("o-1", PERSON), shop.events("o-2", "somebody-else", seed=2)
    shop.store_outbox(theirs)
    worker = shop.archive.worker()
    shop.archive.drain(worker)
    shop.erase()
    shop.archive.send(theirs + others)
    shop.archive.drain(shop.archive.worker(), worker)
    assert set(shop.archive.archived()) == ids(others)
    reporter = shop.reporter()
    eventually(lambda: reporter.turn(0.2) or shop.reported() == ids(others))


def test_an_erasure_while_the_event_lies_in_an_open_file_is_respected(shop: Erasable):
    theirs, others = shop.events("o-1", PERSON), shop.events("o-2", "somebody-else", seed=2)
    shop.store_outbox(theirs)
    shop.archive.send(theirs + others)
    worker = shop.archive.worker(age=3600)
    eventually(lambda: worker.turn(0.2) or sum(worker.spooled_offsets().values()) == len(theirs + others))
    shop.erase()
    with pytest.raises(Superseded, match="erased meanwhile"):
        worker.publish()
    worker.close()
    shop.archive.drain(shop.archive.worker())
    assert set(shop.archive.archived()) == ids(others)


def test_a_worker_with_an_erased_event_in_an_open_file_continues_without_it(shop: Erasable):
    theirs, others = shop.events("o-1", PERSON), shop.events("o-2", "somebody-else", seed=2)
    shop.store_outbox(theirs)
    shop.archive.send(theirs + others)
    worker = shop.archive.worker(age=2.0)
    eventually(lambda: worker.turn(0.1) or sum(worker.spooled_offsets().values()) == len(theirs + others))
    shop.erase()
    shop.archive.drain(worker)
    assert set(shop.archive.archived()) == ids(others)


def test_a_single_event_that_the_outbox_lacks_is_removed_for_good_and_no_other(shop: Erasable):
    unexpected, *others = shop.events("o-1", PERSON)
    shop.store_outbox(others)
    shop.archive.send([unexpected, *others])
    shop.archive.drain(shop.archive.worker())
    reporter = shop.reporter()
    eventually(lambda: reporter.turn(0.2) or shop.reported() == ids([unexpected, *others]))

    shop.erase_event(unexpected)

    assert set(shop.archive.archived()) == ids(others)
    assert shop.reported() == ids(others)
    rebuilt = shop.in_generation(REBUILT)
    reporter = rebuilt.reporter()
    eventually(lambda: reporter.turn(0.2) or rebuilt.reported())
    for _ in range(20):
        reporter.turn(0.2)
    assert rebuilt.reported() == ids(others)

    number = shop.archive.log().manifest().number
    shop.erase_event(unexpected)
    assert shop.archive.log().manifest().number == number


def test_a_single_event_that_the_outbox_has_is_not_erased(shop: Erasable):
    events = shop.events("o-1", PERSON)
    shop.store_outbox(events)
    shop.archive.send(events)
    shop.archive.drain(shop.archive.worker())
    with pytest.raises(HeadraceError, match="the outbox has it"):
        shop.erase_event(events[0])
    assert set(shop.archive.archived()) == shop.outbox() == ids(events)
    assert not shop.archive.log().manifest().erasures


def test_erasing_a_second_time_finds_nothing_and_changes_nothing(shop: Erasable):
    shop.archive.send(shop.events("o-1", PERSON))
    shop.archive.drain(shop.archive.worker())
    shop.erase()
    number = shop.archive.log().manifest().number
    assert shop.erase().rows == 0
    assert shop.archive.log().manifest().number == number


def test_what_only_the_archive_showed_to_be_theirs_is_still_erased_from_reporting_after_a_crash(shop: Erasable):
    theirs = shop.events("o-1", PERSON)
    shop.archive.send(theirs)
    shop.archive.drain(shop.archive.worker())
    reporter = shop.reporter()
    eventually(lambda: reporter.turn(0.2) or shop.reported() == ids(theirs))
    with spooling(shop.archive.store) as spool:  # as far as it came
        eraser = Eraser(shop.archive.log(), shop.subject, spool, tables=[shop.archive.table])
        found = eraser.find(eraser.groups(), {})
        eraser.erase(found.files, found.ids)
    shop.erase()
    assert not shop.reported()


def test_events_that_come_later_are_erased_by_the_next_erasure(shop: Erasable):
    placed, *later = shop.events("o-1", PERSON)
    worker = shop.archive.worker()
    shop.archive.send([placed, later[0]])
    shop.archive.drain(worker)
    shop.archive_orders({"o-1": PERSON})
    with spooling(shop.archive.store) as spool:
        eraser = Eraser(shop.archive.log(), shop.subject, spool, tables=[shop.archive.table])
        found = eraser.find(eraser.groups(), {})
        eraser.erase(found.files, found.ids)
    assert not shop.archive.archived()
    shop.archive.send(later)
    shop.archive.drain(worker)
    shop.erase()
    assert not shop.archive.archived()


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("point", "times"),
    [
        (FailPoint.FILE_NAMED, 1),  # the tombstone's object
        (FailPoint.FILE_NAMED, 2),
        (FailPoint.FILE_SYNCED, 3),
        (FailPoint.ENTRY_PUBLISHED, 1),
        (FailPoint.FILE_DELETED, 1),
    ],
)
def test_an_erasure_that_was_killed_is_finished_by_the_next_one(
    shop: Erasable, point: FailPoint, times: int, seed: int
):
    theirs, others = shop.events("o-1", PERSON), shop.events("o-2", "somebody-else", seed=2)
    shop.store_outbox(theirs + others)
    shop.archive.send(theirs + others)
    shop.archive.drain(shop.archive.worker())
    subject = [shop.subject.tenant, shop.subject.id]
    run_killed(url=shop.archive.url, point=point, times=times, seed=seed, erase=subject)
    shop.erase()
    assert set(shop.archive.archived()) == shop.outbox() == ids(others)
    assert shop.archive.log().manifest().erased("events") == {(shop.subject.tenant, id_) for id_ in ids(theirs)}
    manifest = shop.archive.log().manifest()
    removed = shop.archive.store.sizes("events").keys() & manifest.gone.keys()
    assert not removed


def test_a_file_that_a_crash_left_goes_with_the_persons_and_its_writer_is_refused(shop: Erasable):
    theirs = shop.events("o-1", PERSON)
    shop.store_outbox(theirs)
    shop.archive.send(theirs)
    shop.archive.drain(shop.archive.worker())
    log = shop.archive.log()
    file = next(iter(log.manifest().files.values()))
    with spooling(shop.archive.store) as spool:
        batch = ArchiveBatch(spool)
        for datum in shop.archive.records(file):
            batch.file(EVENTS, datum["tenant_id"], file.day).write(key_of(EVENTS)(datum), datum, datum["occurred_at"])
        left = batch.publish(log.store)
    shop.erase()
    assert not shop.archive.store.sizes("events")
    with pytest.raises(Superseded, match="removed before it was added"):
        log.commit(log.draft(Kind.APPEND, added=left))


def test_what_a_crash_left_of_others_stays(shop: Erasable):
    """It may hold what the archive has nowhere else, where the last entries were lost; compaction judges that."""
    theirs, others = shop.events("o-1", PERSON), shop.events("o-2", "somebody-else", seed=2)
    shop.store_outbox(theirs)
    shop.archive.send([*theirs, *others])
    shop.archive.drain(shop.archive.worker())
    log = shop.archive.log()
    file = next(iter(log.manifest().files.values()))
    with spooling(shop.archive.store) as spool:
        batch = ArchiveBatch(spool)
        for datum in shop.archive.records(file):
            if datum["event_id"] in ids(others):
                into = batch.file(EVENTS, datum["tenant_id"], file.day)
                into.write(key_of(EVENTS)(datum), datum, datum["occurred_at"])
        (left,) = batch.publish(log.store)
    shop.erase()
    assert left.name in shop.archive.store.sizes("events")
    log.commit(log.draft(Kind.APPEND, added=(left,)))
    assert set(shop.archive.archived()) == ids(others)


def test_an_order_whose_id_begins_like_an_erased_ones_stays(shop: Erasable):
    shop.archive_orders({"o-1": PERSON, "o-11": "somebody-else"})
    shop.erase()
    assert shop.orders() == {"o-11"}


def command(shop: Erasable, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    names = ["--tenant", shop.subject.tenant, "--subject", shop.subject.id, *arguments]
    return subprocess.run(
        [sys.executable, "-m", "operations", "archive", "erase", *names],
        cwd=ROOT,
        env=os.environ | {"HEADRACE_ARCHIVE__URL": shop.archive.url},
        input=answer,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_asks_before_it_erases_and_says_what_it_did(shop: Erasable):
    theirs = shop.events("o-1", PERSON)
    shop.store_outbox(theirs)
    shop.archive.send(theirs)
    shop.archive.drain(shop.archive.worker())
    refused = command(shop, answer="n\n")
    assert refused.returncode == 1
    assert "found 3 records: 3 rows in" in refused.stdout
    assert set(shop.archive.archived()) == shop.outbox() == ids(theirs)
    done = command(shop, "--by", "the data protection officer", "--yes")
    assert done.returncode == 0, done.stderr
    assert "archive: erased 3 rows" in done.stdout
    assert "Postgres' outbox: erased 3 events" in done.stdout
    assert not shop.archive.archived() and not shop.outbox()
    assert "outbox: erased 0 events" in command(shop, "--yes").stdout
    assert read_erasure_records(shop.archive.store)[0].by.startswith("the data protection officer")


def test_of_a_person_of_whom_there_is_nothing_the_command_says_so(shop: Erasable):
    done = command(shop)
    assert done.returncode == 0
    assert done.stdout == "the archive and the outbox hold no records of this person\n"
