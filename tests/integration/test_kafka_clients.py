"""Requests, confirmed delivery and ranges of offsets, on a real broker."""

import asyncio
import secrets

import pytest
from confluent_kafka.admin import NewTopic

from messaging import clients, ranges
from messaging.delivery import ConfirmedProducer, NotStored
from messaging.offsets import OffsetGone
from schemas.errors import Unavailable
from tests.support.eventually import eventually


@pytest.fixture
def topic(settings):
    name = f"test.clients.{secrets.token_hex(4)}"
    asking = clients.admin(settings.kafka.bootstrap)
    asking.create_topics([NewTopic(name, 3, 1)])[name].result(20)
    yield name
    asking.delete_topics([name])[name].result(20)


@pytest.mark.parametrize("ask", [clients.start_offsets, clients.end_offsets])
def test_offsets_are_asked_for_the_partitions_that_are_needed_alone(settings, topic, ask):
    """Another partition may have no leader to ask."""
    assert ask(settings.kafka.bootstrap, [topic], {(topic, 1)}) == {(topic, 1): 0}
    assert ask(settings.kafka.bootstrap, [topic]) == {(topic, number): 0 for number in range(3)}


def test_everything_sent_is_stored_though_the_queue_is_smaller(settings, topic):
    bootstrap, stored = settings.kafka.bootstrap, []
    producer = ConfirmedProducer(clients.producer(bootstrap, queue_buffering_max_messages=100))
    for number in range(5_000):
        producer.send(topic, b"%d" % number, b"v", on_stored=lambda number=number: stored.append(number))
    producer.confirm()
    assert sorted(stored) == list(range(5_000))
    assert {int(message.key()) for message in ranges.everything(bootstrap, topic)} == set(range(5_000))


def test_a_record_that_no_broker_confirms_is_an_error_that_stays(topic):
    producer = ConfirmedProducer(clients.producer("127.0.0.1:1", message_timeout_ms=200), hint="; see X")
    producer.send(topic, b"k", b"v")
    for _ in range(2):
        with pytest.raises(NotStored, match=rf"a record was not stored in {topic}: .*; see X"):
            producer.confirm()
    with pytest.raises(NotStored):
        asyncio.run(producer.confirmed())


def test_a_record_above_the_limit_is_refused_where_it_is_sent(settings, topic):
    producer = ConfirmedProducer(clients.producer(settings.kafka.bootstrap, message_max_bytes=2_000), noun="tombstone")
    with pytest.raises(NotStored, match=f"a tombstone was not stored in {topic}: .*[Mm]essage size too large"):
        producer.send(topic, b"k", b"v" * 3_000)


def test_two_that_share_a_producer_wait_for_their_own_records_alone(settings, topic):
    queue = clients.producer(settings.kafka.bootstrap)
    first, second = ConfirmedProducer(queue), ConfirmedProducer(queue)
    first.deliver(topic, b"a", b"v", [("headrace-epoch", b"1")], 2)
    second.deliver(topic, b"b", None, (), 2)
    asyncio.run(first.confirmed())
    found = list(ranges.everything(settings.kafka.bootstrap, topic))
    assert [(each.partition(), each.key(), each.value()) for each in found] == [(2, b"a", b"v"), (2, b"b", None)]


def test_a_range_ends_before_its_second_offset_in_each_partition(settings, topic):
    producer = ConfirmedProducer(clients.producer(settings.kafka.bootstrap))
    for partition in range(3):
        for number in range(10):
            producer.send(topic, b"%d" % number, b"v", (), partition)
    producer.confirm()
    spans = {(topic, 0): (0, 10), (topic, 1): (3, 5), (topic, 2): (7, 7)}
    found = [(each.partition(), each.offset()) for each in ranges.records(settings.kafka.bootstrap, spans)]
    assert sorted(found) == [(0, number) for number in range(10)] + [(1, 3), (1, 4)]


def test_a_range_whose_records_were_deleted_is_an_error(settings, topic):
    producer = ConfirmedProducer(clients.producer(settings.kafka.bootstrap))
    for _ in range(4):
        producer.deliver(topic, b"k", b"v", (), 0)
    clients.delete_records(settings.kafka.bootstrap, (topic, 0), 2)
    with pytest.raises(Unavailable, match="records were deleted while they were read"):
        list(ranges.records(settings.kafka.bootstrap, {(topic, 0): (0, 4)}))
    with pytest.raises(OffsetGone), ranges.RangeReader(settings.kafka.bootstrap, {(topic, 0): 0}) as reader:
        eventually(lambda: reader.read(1.0)[0])
