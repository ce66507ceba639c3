"""The target and the outcome of each redriven dead letter, on reporting in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from messaging.dead_letters import DeadLetter, Record
from operations.dlq.decisions import Verdict
from operations.dlq.letters import Letter
from operations.dlq.redrive import Destination, RedriveOutcome, RedriveTargets, least_final, outcome_at, redrive_letter
from schemas.change import Change, Op
from schemas.errors import BadRecord
from schemas.position import Position
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PRICE_HISTORY, Table, of_generation
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.memory import MemoryReporting
from sinks.reporting.port import Batch
from streams.enrich import Enriched, Wait

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEYS = {
    "orders": ("t-1", date(2026, 11, 1), "o-1"),
    "order_lines": ("t-1", date(2026, 11, 1), "o-1", 1),
    "events": ("t-1", date(2026, 11, 23), "e-1"),
    "price_history": ("t-1", "sku", NOON),
}


def change(table: Table, offset: int, *, epoch: int = 1, version: int = 0, enriched: bool = False) -> Change:
    columns = table.all_columns if enriched else table.columns
    key = dict(zip(table.key, KEYS[table.name], strict=True))
    row = tuple(key.get(column.name, Decimal(1)) for column in columns)
    position = Position(epoch, offset, version, (offset, offset))
    return Change(table=table, key=KEYS[table.name], op=Op.UPDATE, position=position, source_time=NOON, row=row)


@dataclass
class Decoder:
    """Decodes a record to the change at its offset; whose value is not "good" is refused."""

    topics: list[str] = field(default_factory=list)

    def change(self, topic: str, _key, value, headers, offset: int) -> Change | None:
        self.topics.append(topic)
        if value != b"good":
            raise BadRecord("still not understood")
        tables = (*of_generation(1), *of_generation(2))
        table = next(each for each in tables if topic in each.captured_topics + each.landed_topics)
        enriched = bool(table.enrichment) and topic in table.landed_topics
        return change(table, offset, epoch=int(dict(headers)["e"]), enriched=enriched)


@dataclass
class World:
    """Ways whose ends can be looked at."""

    reporting: list[MemoryReporting] = field(default_factory=lambda: [MemoryReporting()])
    epochs: Sequence[int] = (1,)
    wait: Wait | None = None
    archived: list[Change] = field(default_factory=list)
    entered: list[Record] = field(default_factory=list)

    def send(self, letter: Letter) -> RedriveOutcome:
        found = [
            Destination(number=number, epoch=epoch, tables=of_generation(number), reporting=each)
            for number, (epoch, each) in enumerate(zip(self.epochs, self.reporting, strict=True), 1)
        ]
        return redrive_letter(
            letter,
            RedriveTargets(
                decoding=Decoder(),  # type: ignore[arg-type]
                destinations=found,
                enrich=self.enrich,
                archive=self.archive,
                republish_catalog_entry=self.republish_catalog_entry,
            ),
        )

    def enrich(self, came: Change) -> Enriched:
        version = 0 if self.wait else 7
        row = (came.row or ()) + ("lamp", "home", Decimal(1), version, "enriched")
        return Enriched(replace(came, row=row, position=came.position._replace(version=version)), self.wait)

    def archive(self, came: Change) -> RedriveOutcome:
        self.archived.append(came)
        return RedriveOutcome(verdict=Verdict.LANDED)

    def republish_catalog_entry(self, record: Record) -> RedriveOutcome:
        self.entered.append(record)
        return RedriveOutcome(verdict=Verdict.LANDED)

    def position(self, table: Table, generation: int = 1) -> Position | None:
        return self.reporting[generation - 1].position_of(table, KEYS[table.name])


def letter(topic: str, offset: int = 5, *workers: str, value: bytes = b"good", epoch: int = 1) -> Letter:
    record = Record(
        topic=topic, partition=0, offset=offset, timestamp=1, key=b"k", value=value, headers=[("e", b"%d" % epoch)]
    )
    refusals = [
        DeadLetter(record=record, error="BadRecord", message="", worker=worker, offset=number, seen=1)
        for number, worker in enumerate(workers or ("report",))
    ]
    return Letter(refusals=refusals, decision=None)


(ORDERS_TOPIC,), (LINES_TOPIC,), (PRICES_TOPIC,) = (
    each.captured_topics for each in (ORDERS, ORDER_LINES, PRICE_HISTORY)
)
EVENTS_TOPIC = EVENTS.captured_topics[0]


def test_a_record_lands_at_the_position_it_was_captured_at():
    world = World()
    assert world.send(letter(ORDERS_TOPIC)).verdict is Verdict.LANDED
    assert world.position(ORDERS) == change(ORDERS, 5).position


def test_a_second_time_changes_nothing_and_says_the_same():
    world = World()
    first = world.send(letter(ORDERS_TOPIC))
    before = dict(world.reporting[0].rows(ORDERS))
    assert world.send(letter(ORDERS_TOPIC)) == first
    assert world.reporting[0].rows(ORDERS) == before


def test_a_newer_row_stays():
    world = World()
    world.reporting[0].land(Batch(changes=[change(ORDERS, 9)], checkpoints={}))
    outcome = world.send(letter(ORDERS_TOPIC))
    assert outcome == RedriveOutcome(verdict=Verdict.OUTDATED, detail="the row is at epoch 1, offset 9")
    assert world.position(ORDERS) == change(ORDERS, 9).position


def test_what_still_cannot_be_understood_is_dead_again_with_its_present_error():
    outcome = World().send(letter(ORDERS_TOPIC, value=b"bad"))
    assert outcome == RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail="still not understood")


def test_what_reporting_still_refuses_is_dead_again():
    world = World()
    assert world.send(letter(EVENTS_TOPIC)).verdict is Verdict.LANDED
    world.reporting[0]._write = _refuse  # type: ignore[method-assign]
    assert world.send(letter(ORDERS_TOPIC)) == RedriveOutcome(verdict=Verdict.DEAD_AGAIN, detail="no")


def _refuse(*_):
    from sinks.reporting.port import Poison

    raise Poison("no")


def test_what_has_aged_out_is_not_brought_back():
    world = World()
    world.reporting[0].cutoffs = {"orders": Cutoff("orders", date(2026, 12, 1))}
    assert world.send(letter(ORDERS_TOPIC)).verdict is Verdict.AGED_OUT
    assert world.position(ORDERS) is None


def test_every_generation_gets_it_but_those_that_began_with_a_later_epoch():
    world = World(reporting=[MemoryReporting() for _ in range(3)], epochs=(1, 1, 2))
    assert world.send(letter(ORDERS_TOPIC)).verdict is Verdict.LANDED
    assert [world.position(ORDERS, number) is not None for number in (1, 2, 3)] == [True, True, False]


def test_a_captured_line_is_enriched_on_its_way():
    world = World()
    assert world.send(letter(LINES_TOPIC, 5, "enrich")).verdict is Verdict.LANDED
    assert world.position(ORDER_LINES) == change(ORDER_LINES, 5, version=7).position


def test_a_line_without_its_product_lands_and_stays_open_until_it_has_one():
    world = World(wait=Wait(product=("t-1", "sku"), due=None))
    assert world.send(letter(LINES_TOPIC, 5, "enrich")).verdict is Verdict.UNDECIDED
    assert world.position(ORDER_LINES) == change(ORDER_LINES, 5).position
    world.wait = None
    assert world.send(letter(LINES_TOPIC, 5, "enrich")).verdict is Verdict.LANDED
    assert world.position(ORDER_LINES) == change(ORDER_LINES, 5, version=7).position


def test_an_enriched_record_lands_in_its_own_generation_only():
    world = World(reporting=[MemoryReporting() for _ in range(2)], epochs=(1, 1))
    assert world.send(letter("reporting.order_lines.g2")).verdict is Verdict.LANDED
    assert [world.position(ORDER_LINES, number) is not None for number in (1, 2)] == [False, True]


@pytest.mark.parametrize(
    ("workers", "archived", "landed"),
    [(("archive",), 1, False), (("report",), 0, True), (("report", "archive"), 1, True)],
)
def test_an_event_goes_where_it_was_refused(workers, archived, landed):
    world = World()
    assert world.send(letter(EVENTS_TOPIC, 5, *workers)).verdict is Verdict.LANDED
    assert (len(world.archived), world.position(EVENTS) is not None) == (archived, landed)


def test_a_catalog_entry_goes_into_its_topic_once_more():
    world = World()
    sent = letter(PRICES_TOPIC, 5, "enrich")
    assert world.send(sent).verdict is Verdict.LANDED
    assert world.entered == [sent.record]


@pytest.mark.parametrize("topic", ["shop.sales.gone", "reporting.order_lines.g9"])
def test_a_record_of_an_undeclared_topic_stays_open_and_stops_nothing(topic):
    outcome = World().send(letter(topic))
    assert outcome.verdict is Verdict.DEAD_AGAIN
    assert "no table declares its topic" in outcome.detail


def test_a_repeat_of_what_has_landed_is_outdated():
    assert outcome_at(change(ORDERS, 5), Position(1, 4, 0, (5, 5))).verdict is Verdict.OUTDATED


def test_of_several_outcomes_the_one_that_needs_somebody_counts():
    found = [RedriveOutcome(verdict=each) for each in (Verdict.OUTDATED, Verdict.LANDED, Verdict.DEAD_AGAIN)]
    assert least_final(found).verdict is Verdict.DEAD_AGAIN
    assert least_final(found[:2]).verdict is Verdict.LANDED
