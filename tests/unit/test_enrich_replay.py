"""The processor against any interleaving of catalog and lines, any deaths, any bounds: the same rows in the end.

The topics are lists; everything between them is the real thing.
"""

import asyncio
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from messaging.dead_letters import Record
from schemas.change import Change, Op
from schemas.decoders.values import microseconds
from schemas.position import Position
from schemas.tables import ORDER_LINES
from streams import pending_topic
from streams.asof import CatalogEntry, as_of, with_entry
from streams.catalog import Catalog
from streams.enrich import decided
from streams.processor import Processor, SpillLimits
from streams.wiring import Wiring

T0 = datetime(2026, 1, 1, tzinfo=UTC)
WIRING = Wiring(bootstrap="none", registry_url="none")
PRICED = [column.name for column in ORDER_LINES.columns].index("priced_at")


def at(second):
    return T0 + timedelta(seconds=second)


@dataclass
class Topics:
    """The content of Kafka. `acked` is the committed offset of the one partition."""

    lines: list[Change] = field(default_factory=list)
    enriched: list[Change] = field(default_factory=list)
    pending: list[Record] = field(default_factory=list)
    acked: int = 0
    written: int = 0
    queued: list[tuple[str, Record | Change]] = field(default_factory=list)

    def change(self, _topic, _key, _value, _headers, offset):
        return self.lines[offset]

    def send(self, topic, key, value, headers, partition):
        if topic == WIRING.enriched:
            self.queued.append((topic, value))
            return
        self.written += 1
        offset = self.written
        written = Record(
            topic=topic, partition=partition, offset=offset, timestamp=0, key=key, value=value, headers=list(headers)
        )
        self.queued.append((topic, written))

    async def confirmed(self):
        for topic, what in self.queued:
            (self.enriched if topic == WIRING.enriched else self.pending).append(what)
        self.queued.clear()

    def compact(self):
        """Of each key the last record stays."""
        last = {each.key: each.offset for each in self.pending}
        self.pending = [each for each in self.pending if last[each.key] == each.offset]

    def record(self, offset):
        key = repr(self.lines[offset].key).encode()
        headers = [("headrace-epoch", b"1")]
        return Record(topic="lines", partition=0, offset=offset, timestamp=0, key=key, value=b"x", headers=headers)


class Run:
    """A worker's life: started, given things to do, killed or stopped at any time."""

    def __init__(self, topics, seen, spill):
        self.topics, self.spill = topics, spill
        self.seen = seen
        self.start()

    def start(self):
        self.catalog = Catalog(slack=timedelta(0))
        for step in self.seen:
            self.read(step)
        self.catalog.arrived.clear()
        self.processor = Processor(
            wiring=WIRING, catalog=self.catalog, decoding=self.topics, serialize=lambda change: change,
            producer=self.topics, dead_letters=None, spill=self.spill, lines_id="t",
        )  # fmt: skip
        self.processor.assign(1, [0])
        self.next = self.topics.acked
        self.topics.queued.clear()

    async def load(self):
        # As `load` does, from the list instead of the topic.
        partition = self.processor.partitions[0]
        self.processor._restore(partition, pending_topic.remaining(iter(self.topics.pending), "lines"))
        await self.topics.confirmed()
        self.processor._loaded.set()

    def read(self, step):
        if isinstance(step, datetime):
            self.catalog.heartbeat(step)
        else:
            self.catalog.add(*step)

    async def process(self, count):
        records = [
            self.topics.record(offset) for offset in range(self.next, min(self.next + count, len(self.topics.lines)))
        ]
        await self.processor.process(1, 0, records)
        self.next += len(records)

    def commit(self):
        offsets = self.processor.committable()
        self.topics.acked = max(self.topics.acked, offsets.get(0, 0))
        self.processor.committed(offsets)


def line(offset, sku, priced, number, deleted):
    row = None
    if not deleted:
        values = {
            "tenant_id": "t", "order_month": date(2026, 1, 1), "order_id": "o", "line_no": number, "sku": sku,
            "quantity": offset, "unit_price": Decimal(9), "freight": Decimal(1), "currency": "BRL",
            "priced_at": at(priced), "created_at": T0, "created_by": "t", "updated_at": T0, "updated_by": "t",
            "deleted_at": None, "deleted_by": None,
        }  # fmt: skip
        row = tuple(values.values())
    return Change(
        table=ORDER_LINES, key=("t", date(2026, 1, 1), "o", number), op=Op.DELETE if deleted else Op.UPDATE,
        position=Position(1, offset, log=(offset, offset)), source_time=at(priced), row=row,
    )  # fmt: skip


def landed(changes):
    rows = {}
    for change in changes:
        known = rows.get(change.key)
        if known is None or change.position.wins_over(known.position):
            rows[change.key] = change
    return rows


def expected(lines, entries):
    histories = {}
    for product, entry in entries:
        histories[product] = with_entry(histories.get(product, ()), entry)
    rows = {}
    for change in lines:
        row = change.row
        if row is not None:
            entry = as_of(histories.get(("t", row[4]), ()), microseconds(row[PRICED]))
            row += decided(entry) if entry else (None, None, None, 0, "pending")
        rows[change.key] = row
    return rows


def test_a_stalled_workers_late_write_does_not_compact_a_newer_line_away():
    """It goes on when another has its partition: what it writes down last is not what waits."""
    topics = Topics(lines=[line(offset, "ghost", 5, number=1, deleted=False) for offset in range(2)])

    async def live():
        zombie = Run(topics, [], SpillLimits())
        await zombie.load()
        await zombie.process(1)
        survivor = Run(topics, [], AT_ONCE)
        await survivor.load()
        await survivor.process(2)
        zombie.processor.spill = AT_ONCE
        await zombie.processor.resolve_pending()
        topics.compact()
        heir = Run(topics, [], AT_ONCE)
        await heir.load()
        await heir.processor.resolve_pending()
        topics.compact()
        return heir

    (waits,) = asyncio.run(live()).processor.partitions[0].undecided._by_key.values()
    assert waits.record.offset == 1
    assert [each.value for each in topics.pending if each.value is not None] == [b"x"]


AT_ONCE = SpillLimits(lines=0, seconds=0.0)
SKUS = ("lamp", "vase")


def price_history(found):
    ordered = sorted(found, key=lambda each: each[1])
    return [(("t", sku), CatalogEntry(microseconds(at(s)), f"{sku}{s}", "c", Decimal(s))) for sku, s in ordered]


def changes(found):
    return [line(offset, sku, s, number, d == 0) for offset, (sku, s, number, d) in enumerate(found)]


def captured(found, begin, end):
    """The log as it is when capture crashed behind `end` and went on from `begin`: a suffix twice, at new offsets."""
    log = [*found[:end], *found[min(begin, end) : end], *found[end:]]
    return [replace(each, position=each.position._replace(offset=offset)) for offset, each in enumerate(log)]


priced = st.tuples(st.sampled_from((*SKUS, "ghost")), st.integers(0, 30), st.integers(1, 3), st.integers(0, 4))
lines = st.builds(captured, st.lists(priced, min_size=1, max_size=8).map(changes), st.integers(0, 8), st.integers(0, 8))
valid = st.tuples(st.sampled_from(SKUS), st.integers(0, 30))
entries = st.lists(valid, max_size=5, unique_by=lambda each: each).map(price_history)
STEPS = ("take 1", "take 3", "catalog", "beat", "look", "commit", "kill", "compact")
steps = st.lists(st.sampled_from(STEPS), max_size=40)


# A repeat lands as provisional while the first one waits as pending: it must be decided at the repeat's offset.
@example(
    captured(changes([("lamp", 10, 1, 1)]), 0, 1),
    price_history([("lamp", 5)]),
    ["take 1", "catalog", "take 1"],
    SpillLimits(),
)
@settings(max_examples=400, deadline=None)
@given(
    lines,
    entries,
    steps,
    st.sampled_from([SpillLimits(lines=2, seconds=1e9), SpillLimits(seconds=1e9), SpillLimits(seconds=0.0)]),
)
def test_the_same_topics_give_the_same_rows_whatever_happens_in_between(found, known, chosen, spill):
    topics = Topics(lines=found)

    async def live():
        unread, seen = list(known), []
        run = Run(topics, seen, spill)
        await run.load()
        for step in (*chosen, "finish"):
            match step.split():
                case ["take", count]:
                    await run.process(int(count))
                case ["catalog"] if unread:
                    seen.append(unread.pop(0))
                    run.read(seen[-1])
                case ["beat"]:
                    # An honest heartbeat: everything older has been read.
                    oldest = min((each.valid_from for _, each in unread), default=microseconds(at(15)))
                    seen.append(at(-1) + timedelta(microseconds=oldest - microseconds(T0)))
                    run.read(seen[-1])
                case ["look"]:
                    await run.processor.resolve_pending()
                case ["commit"]:
                    run.commit()
                case ["compact"]:
                    topics.compact()
                case ["kill"]:
                    event("killed")
                    run.start()
                    await run.load()
                case ["finish"]:
                    await run.process(len(found))
                    for each in (*unread, at(1_000)):
                        run.read(each)
                    await run.processor.resolve_pending()
                    await run.processor.resolve_pending()
                    run.commit()
        return run

    began = time.monotonic()
    run = asyncio.run(live())
    assert {key: change.row for key, change in landed(topics.enriched).items()} == expected(found, known)
    still = [line for line, _ in pending_topic.remaining(iter(topics.pending), "lines").undecided]
    ghosts = {repr(c.key).encode() for c in landed(topics.enriched).values() if c.row and c.row[-1] == "pending"}
    assert {each.key for each in still} <= ghosts, "a decided line still waits in the pending topic"
    if not ghosts:
        assert topics.acked == len(found)
    assert len(run.processor.partitions[0].undecided) == len(ghosts)
    assert time.monotonic() - began < 60
