"""Topics that have lost records, or were deleted and made again: enrichment stops, on real Kafka, and says which."""

from datetime import timedelta

import pytest
from confluent_kafka.admin import NewTopic

from messaging import clients
from messaging.clients import TopicMissing
from streams.processor import SpillLimits
from tests.support.enrichment import enriching
from tests.support.enrichment_world import PARTITIONS, now
from tests.support.eventually import eventually

LAMP, VASE = ("shop", "lamp"), ("shop", "vase")
AT_ONCE = SpillLimits(lines=0, seconds=0.0)


@pytest.fixture
def field(settings):
    with enriching(settings) as found:
        found.price(LAMP, now() - timedelta(days=1))
        found.beat(now())
        yield found


def sell(field, *orders, product=LAMP):
    for order in orders:
        field.put(field.line(product, order, now() - timedelta(hours=1)), partition=0)
    field.flush()


def sold(field, *orders, **options):
    """A worker that has enriched these orders."""
    sell(field, *orders)
    worker = field.start(**options)
    field.eventually(field.has(**dict.fromkeys(orders, "enriched")))
    field.eventually(lambda: field.committed() == len(orders))
    return worker


def make_anew(field, topic, partitions=PARTITIONS):
    asking = clients.admin(field.wiring.bootstrap)
    was = clients.topic_ids(field.wiring.bootstrap, [topic])[topic]
    asking.delete_topics([topic])[topic].result(20)
    eventually(lambda: topic not in clients.present(field.wiring.bootstrap, [topic]))
    asking.create_topics([NewTopic(topic, partitions, 1)])[topic].result(20)

    def another():
        try:
            return clients.topic_ids(field.wiring.bootstrap, [topic])[topic] != was
        except TopicMissing:
            return False

    eventually(another)


def stops(worker, topic, entry):
    """The worker ends by itself, its last line names the topic and the runbook's entry."""
    assert worker.process.wait(90) == 1, worker.log()
    last = worker.log().splitlines()[-1]
    assert topic in last and f"docs/runbook.md#{entry}" in last, last


def test_lines_that_were_deleted_before_they_were_read(field):
    sold(field, "o1").stop()
    sell(field, "o2", "o3")
    clients.delete_records(field.wiring.bootstrap, (field.wiring.lines, 0), 2)
    stops(field.start(), field.wiring.lines, "offset-gone")
    assert "o3" not in field.statuses()


def test_lines_that_were_deleted_ahead_of_a_running_worker(field):
    """One fetch brings three of these lines, and the worker takes its time."""
    padding = [("headrace-epoch", b"1"), ("padding", bytes(300_000))]
    for number in range(20):
        row = field.line(LAMP, f"o{number}", now() - timedelta(hours=1))
        value = field.lines.value("c", row, log=(number, number), at=row["priced_at"])
        field.raw(field.lines.key(row), value, partition=0, headers=padding)
    field.flush()
    worker = field.start(rate=1, batch=1)
    field.eventually(field.sent)
    clients.delete_records(field.wiring.bootstrap, (field.wiring.lines, 0), 19)
    stops(worker, field.wiring.lines, "offset-gone")
    assert "o19" not in field.statuses()


def test_lines_whose_topic_was_made_anew(field):
    sold(field, "o1", "o2").stop()
    make_anew(field, field.wiring.lines)
    sell(field, "o3")
    stops(field.start(), field.wiring.lines, "topic-replaced")
    assert "o3" not in field.statuses()


def test_lines_whose_topic_was_made_anew_beside_a_running_worker(field):
    worker = sold(field, "o1", "o2")
    make_anew(field, field.wiring.lines)
    sell(field, "o3")
    stops(worker, field.wiring.lines, "topic-replaced")


def test_a_pending_topic_that_was_made_anew(field):
    sell(field, "o1", product=VASE)
    worker = field.start(spill=AT_ONCE)
    field.eventually(lambda: field.committed() == 1)
    worker.stop()
    make_anew(field, field.wiring.pending)
    stops(field.start(), field.wiring.pending, "topic-replaced")


def test_waiting_lines_that_were_deleted(field):
    sell(field, "o1", product=VASE)
    worker = field.start(spill=AT_ONCE)
    field.eventually(lambda: field.committed() == 1)
    worker.stop()
    clients.delete_records(field.wiring.bootstrap, (field.wiring.pending, 0), 1)
    stops(field.start(), field.wiring.pending, "offset-gone")


def test_catalog_entries_that_were_deleted(field):
    sold(field, "o1").stop()
    clients.delete_records(field.wiring.bootstrap, (field.wiring.catalog, 0), 1)
    stops(field.start(), field.wiring.catalog, "offset-gone")


def test_a_catalog_whose_topic_was_made_anew_beside_a_running_worker(field):
    worker = sold(field, "o1")
    make_anew(field, field.wiring.catalog, partitions=1)
    stops(worker, field.wiring.catalog, "topic-replaced")
