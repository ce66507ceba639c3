"""Questions to Kafka, asked of a real broker."""

import secrets

import pytest
from confluent_kafka.admin import NewTopic

from messaging import clients


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
