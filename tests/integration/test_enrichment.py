"""Enrichment on real Kafka and a real registry: when a line is final, what is acked, what is refused."""

from datetime import timedelta

import pytest

from messaging import clients
from messaging.dead_letters import listing
from schemas.decoders.values import microseconds
from schemas.position import enrichment_version
from streams.processor import SpillLimits
from tests.support.enrichment import enriching
from tests.support.enrichment_world import now

LAMP, VASE = ("shop", "lamp"), ("shop", "vase")
PATIENT = SpillLimits(lines=5_000, seconds=600.0)
AT_ONCE = SpillLimits(lines=0, seconds=0.0)


@pytest.fixture
def field(settings):
    with enriching(settings) as found:
        yield found


def ago(**time):
    return now() - timedelta(**time)


def test_a_line_gets_the_entry_of_its_price_date_and_keeps_key_partition_and_headers(field):
    then = ago(days=2)
    field.price(LAMP, ago(days=3), "10.0000", "old lamp")
    field.price(LAMP, ago(days=1), "12.0000", "new lamp")
    field.beat(now() + timedelta(seconds=2))
    field.put(field.line(LAMP, "o1", then))
    field.flush()
    field.start()
    field.eventually(field.has(o1="enriched"))
    assert field.columns("o1")["product_name"] == "old lamp"
    (captured,), (enriched,) = field.read(field.wiring.lines), field.read(field.wiring.enriched)
    assert (enriched.key, enriched.partition, enriched.headers) == (captured.key, captured.partition, captured.headers)
    (change,) = field.landed().all
    assert (change.position.epoch, change.position.offset) == (1, captured.offset)


def test_a_live_line_is_sent_provisional_at_once_and_decided_by_the_next_heartbeats(field):
    priced = ago(seconds=10)
    field.price(LAMP, ago(days=1))
    field.beat(priced)
    field.put(field.line(LAMP, "o1", priced))
    field.flush()
    field.start(spill=PATIENT)
    field.eventually(field.has(o1="provisional"))
    field.beat(priced + timedelta(seconds=3))
    field.flush()
    field.eventually(field.has(o1="enriched"))
    first, last = field.landed().all
    assert first.position.offset == last.position.offset
    assert last.position.version == first.position.version + 1
    assert first.row[:-1] == last.row[:-1]


def test_a_price_change_on_its_way_corrects_the_line(field):
    priced = ago(seconds=10)
    field.price(LAMP, ago(days=1), "10.0000")
    field.put(field.line(LAMP, "o1", priced))
    field.flush()
    field.start(spill=PATIENT)
    field.eventually(field.has(o1="provisional"))
    field.price(LAMP, priced, "11.0000")
    field.beat(priced + timedelta(seconds=3))
    field.flush()
    field.eventually(field.has(o1="enriched"))
    row = field.columns("o1")
    assert (str(row["list_price"]), row["catalog_version"]) == ("11.0000", microseconds(priced))


def test_an_unknown_product_is_pending_until_it_reaches_the_catalog(field):
    priced = ago(minutes=5)
    field.beat(now())
    field.put(field.line(LAMP, "o1", priced))
    field.flush()
    field.start(spill=AT_ONCE)
    field.eventually(field.has(o1="pending"))
    field.eventually(lambda: field.committed() == 1)
    late = ago(seconds=10)
    field.price(LAMP, late)
    field.beat(late + timedelta(seconds=3))
    field.flush()
    field.eventually(field.has(o1="enriched"))
    assert field.columns("o1")["catalog_version"] == microseconds(late)
    assert field.landed().all[-1].position.version == enrichment_version(microseconds(late), decided=True)
    field.eventually(lambda: list(field.undecided().values()) == [None])


def test_a_held_line_is_not_acked_before_it_is_decided(field):
    field.price(LAMP, ago(days=1))
    field.beat(ago(minutes=30))
    field.put(field.line(LAMP, "o1", ago(hours=1)), partition=0)
    field.put(field.line(LAMP, "o2", ago(minutes=1)), partition=0)
    field.put(field.line(LAMP, "o3", ago(hours=1)), partition=0)
    field.flush()
    worker = field.start(spill=PATIENT)
    field.eventually(field.has(o1="enriched", o2="provisional", o3="enriched"))
    assert worker.stop() == 0
    assert field.committed() == 1
    field.start(spill=PATIENT)
    field.beat(now())
    field.flush()
    field.eventually(field.has(o2="enriched"))
    field.eventually(lambda: field.committed() == 3)


def test_a_delete_ends_the_line_that_waits(field):
    row = field.line(LAMP, "o1", ago(minutes=5))
    field.beat(now())
    field.put(row)
    field.flush()
    field.start(spill=AT_ONCE)
    field.eventually(lambda: list(field.undecided().values()) not in ([], [None]))
    field.put(row, "d")
    field.flush()
    field.eventually(field.has(o1=None))
    field.eventually(lambda: list(field.undecided().values()) == [None])
    field.price(LAMP, ago(seconds=10))
    field.beat(now())
    field.put(field.line(LAMP, "marker", ago(minutes=5)))
    field.flush()
    field.eventually(field.has(marker="enriched"))
    assert field.statuses()["o1"] is None


def test_a_newer_change_of_the_line_is_what_waits(field):
    row = field.line(LAMP, "o1", ago(minutes=5))
    field.beat(now())
    field.put(row)
    field.put(row | {"quantity": 7}, "u")
    field.flush()
    field.start(spill=AT_ONCE)
    field.eventually(lambda: field.committed() == 2)
    field.price(LAMP, ago(seconds=10))
    field.beat(now())
    field.flush()
    field.eventually(field.has(o1="enriched"))
    assert field.columns("o1")["quantity"] == 7
    decided = [change for change in field.landed().all if change.row[-1] == "enriched"]
    assert len(decided) == 1


def test_what_cannot_be_understood_becomes_a_dead_letter_and_stops_nothing(field):
    field.price(LAMP, ago(days=1))
    field.beat(now() + timedelta(seconds=2))
    row = field.line(LAMP, "o1", ago(hours=1))
    key, value = field.lines.key(row), field.lines.value("c", row, log=(1, 1), at=row["priced_at"])
    bad = [
        (key, b"not avro", None),
        (key, b"\x00\x7f\xff\xff\xff" + value[5:], None),
        (key, value[:-3], None),
        (None, value, None),
        (b"{", value, None),
        (key, value, []),
    ]
    for bad_key, bad_value, headers in bad:
        field.raw(bad_key, bad_value, partition=0, headers=headers)
    field.raw(key, None, partition=0)
    field.put(row, partition=0)
    field.flush()
    field.start()
    field.eventually(field.has(o1="enriched"))
    field.eventually(lambda: field.committed() == len(bad) + 2)
    letters = listing(field.wiring.bootstrap, topic=field.wiring.dead_letters)
    assert [letter.record.origin for letter in letters] == [(field.wiring.lines, 0, n) for n in range(len(bad))]
    assert [(letter.record.key, letter.record.value) for letter in letters] == [each[:2] for each in bad]
    assert {letter.worker for letter in letters} == {"enrich"}
    assert len(field.landed().all) == 1


def test_a_bad_catalog_record_becomes_a_dead_letter_and_the_catalog_goes_on(field):
    field.producer.produce(field.wiring.catalog, b"not avro", b'{"id":"x"}', 0, headers=[("headrace-epoch", b"1")])
    field.price(LAMP, ago(days=1))
    key, value = field.catalog.delete(LAMP, ago(days=1), now())
    field.producer.produce(field.wiring.catalog, value, key, 0, headers=[("headrace-epoch", b"1")])
    field.beat(now() + timedelta(seconds=2))
    field.put(field.line(LAMP, "o1", ago(hours=1)))
    field.flush()
    field.start()
    field.eventually(field.has(o1="enriched"))
    letters = listing(field.wiring.bootstrap, topic=field.wiring.dead_letters)
    assert [letter.record.origin[0] for letter in letters] == [field.wiring.catalog] * 2
    assert "append-only" in letters[1].message


def test_a_heartbeat_looked_up_late_decides_nothing_too_early(field):
    """A connector that lags shows a heartbeat document of the present in an event of the past."""
    priced = ago(minutes=2)
    field.price(LAMP, ago(days=1), "10.0000")
    field.beat(priced + timedelta(seconds=60), logged=priced - timedelta(seconds=1))
    field.put(field.line(LAMP, "o1", priced))
    field.flush()
    field.start(spill=PATIENT)
    field.eventually(field.has(o1="provisional"))
    field.price(LAMP, priced, "11.0000")
    field.beat(priced + timedelta(seconds=90))
    field.flush()
    field.eventually(field.has(o1="enriched"))
    assert str(field.columns("o1")["list_price"]) == "11.0000"


def test_a_heartbeat_of_a_clock_that_is_ahead_decides_nothing_too_early(field):
    """Entries that are stamped once that clock is right, or by another primary, are still to come."""
    priced = now() + timedelta(minutes=5)
    field.price(LAMP, ago(days=1))
    field.beat(now())
    field.flush()
    worker = field.start(spill=PATIENT)
    field.eventually(lambda: worker.get("/readyz")[0] == 200)
    field.beat(now() + timedelta(hours=1))
    field.flush()
    field.eventually(lambda: 'headrace_catalog_clock_doubts_total{clock="ahead"} 1.0' in worker.get("/metrics")[1])
    field.put(field.line(LAMP, "o1", priced), partition=0)
    field.put(field.line(LAMP, "o2", ago(hours=1)), partition=0)
    field.flush()
    field.eventually(field.has(o1="provisional", o2="enriched"))
    assert worker.log().count("docs/runbook.md#catalog-clock") == 1


def test_an_entry_that_arrives_too_late_for_lines_that_were_decided_is_counted(field):
    """The first primary's clock was ahead of the next one's by more than the slack."""
    priced = ago(seconds=10)
    field.price(LAMP, ago(days=1), "10.0000")
    field.beat(now())
    field.put(field.line(LAMP, "o1", priced))
    field.flush()
    worker = field.start()
    field.eventually(field.has(o1="enriched"))
    field.beat(ago(seconds=20), logged=now())
    field.price(VASE, priced, "5.0000")
    field.price(LAMP, priced, "11.0000")
    field.price(LAMP, priced, "11.0000")
    field.flush()
    field.eventually(lambda: "headrace_catalog_late_entries_total 1.0" in worker.get("/metrics")[1])
    assert 'headrace_catalog_clock_doubts_total{clock="behind"} 1.0' in worker.get("/metrics")[1]
    (warning,) = (each for each in worker.log().splitlines() if "docs/runbook.md#catalog-entry-late" in each)
    assert f"{field.wiring.catalog}/0@" in warning
    assert LAMP[1] not in warning


def test_a_worker_is_ready_when_it_takes_lines_and_tells_its_numbers(field):
    field.beat(now())
    field.flush()
    worker = field.start()
    field.eventually(lambda: worker.get("/readyz")[0] == 200)
    assert worker.get("/healthz")[0] == 200
    field.put(field.line(VASE, "o1", ago(hours=1)), partition=2)
    field.flush()
    field.eventually(lambda: 'headrace_enrich_pending{partition="2"} 1.0' in worker.get("/metrics")[1])
    body = worker.get("/metrics")[1]
    assert 'headrace_enriched_lines_total{status="pending"} 1.0' in body
    assert "headrace_catalog_watermark_seconds 1." in body
    field.eventually(lambda: 'headrace_enrich_lag_records{partition="2"} 0.0' in worker.get("/metrics")[1])


def test_a_topic_that_is_missing_is_named_in_one_line(field):
    asking = clients.admin(field.wiring.bootstrap)
    asking.delete_topics([field.wiring.pending])[field.wiring.pending].result(20)
    worker = field.start()
    assert worker.process.wait(60) == 1
    (line,) = worker.log().splitlines()
    assert field.wiring.pending in line
    assert "headrace connectors apply" in line


def test_another_generation_gives_the_same_bytes_whatever_the_catalog_has_become(field):
    """Lines of each kind: long decided, decided late, changed since, deleted, one with no product yet."""
    priced = ago(seconds=10)
    field.price(LAMP, ago(days=3), "10.0000", "old lamp")
    field.put(field.line(LAMP, "o1", ago(days=2)))
    field.put(field.line(LAMP, "o2", priced))
    field.put(field.line(VASE, "late", priced))
    field.put(field.line(LAMP, "gone", priced))
    field.put(field.line(LAMP, "o1", ago(days=2), quantity=3), op="u")
    field.put(field.line(LAMP, "gone", priced), op="d")
    field.price(VASE, priced - timedelta(minutes=1), "20.0000", "vase")
    field.beat(priced + timedelta(seconds=3))
    field.flush()
    field.start()
    field.eventually(field.has(o1="enriched", o2="enriched", late="enriched", gone=None))

    field.price(LAMP, priced + timedelta(seconds=1), "99.0000", "another lamp")
    field.price(VASE, priced + timedelta(seconds=1), "0.0100", "another vase")
    field.beat(priced + timedelta(seconds=9))
    field.flush()
    with field.another_generation() as second:
        field.eventually(lambda: newest(field, second.enriched) == newest(field, field.wiring.enriched))


def test_what_retention_has_let_go_leaves_the_enriched_topic_too(field):
    row = field.line(LAMP, "o1", ago(days=2))
    field.price(LAMP, ago(days=3))
    field.beat(now())
    field.put(row)
    field.raw(field.lines.key(row), None)
    field.flush()
    field.start()
    field.eventually(lambda: newest(field, field.wiring.enriched) == {field.lines.key(row): None})


def newest(field, topic):
    """The last value of each key, byte for byte."""
    return {each.key: each.value for each in field.read(topic)}
