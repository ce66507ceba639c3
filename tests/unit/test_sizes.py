"""One limit on a value's length, and everything that carries records derived from it."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from connectors.pipeline import Pipeline, template
from messaging import clients
from operations.settings import OltpSettings
from schemas.sizes import (
    CUT_AT,
    DEAD_LETTER_OVERHEAD,
    LARGEST_RECORD,
    LEAST_RECORD,
    LONGEST_VALUE,
    largest_record,
    record_bytes,
)
from schemas.tables import EVENTS, ORDERS, TABLES, Column, Source
from schemas.topics import DEAD_LETTERS, PENDING, own_topics, topics
from schemas.types import Text

SIZE = record_bytes(TABLES)


def test_capture_cuts_where_the_decoder_knows_a_value_as_cut():
    (name,) = [name for name in template(Source.POSTGRES) if name.startswith("column.truncate.")]
    assert name == f"column.truncate.to.{CUT_AT}.chars"
    assert template(Source.POSTGRES)[name] == ".*"


def test_the_longest_event_fits_into_a_record_whatever_its_characters_take():
    assert SIZE == largest_record(EVENTS) > 3 * CUT_AT


def test_a_changed_row_is_in_its_record_twice():
    wide = replace(ORDERS, columns=(*ORDERS.columns, Column(name="note", type=Text())))
    assert largest_record(wide) > 2 * 3 * CUT_AT
    assert largest_record(ORDERS) < LEAST_RECORD == record_bytes([ORDERS])


@pytest.mark.parametrize("source", [Source.POSTGRES, Source.MONGODB])
def test_the_connectors_producer_takes_the_largest_record(source):
    config = Pipeline().config(source)
    assert config["producer.override.max.request.size"] == str(SIZE)
    assert int(config["producer.override.buffer.memory"]) > SIZE
    assert config["errors.tolerance"] == "none", "a record that could not be sent would be passed over"


def test_topics_take_what_is_sent_to_them():
    limit = {topic.name: int(topic.config.get("max.message.bytes", 0)) for topic in (*topics(), *own_topics(2))}
    for table in TABLES:
        assert {limit[name] for name in table.captured_topics + table.landed_topics} == {SIZE}
    longer = [name for name in limit if name.startswith((DEAD_LETTERS, PENDING)) and "decisions" not in name]
    assert len(longer) == 3
    assert {limit[name] for name in longer} == {SIZE + DEAD_LETTER_OVERHEAD}


def test_a_worker_can_send_what_any_topic_takes_and_receive_it():
    assert clients._PRODUCER["message.max.bytes"] == LARGEST_RECORD + DEAD_LETTER_OVERHEAD
    assert LARGEST_RECORD + DEAD_LETTER_OVERHEAD + 512 < 100_000_000, "librdkafka's receive.message.max.bytes"


@pytest.mark.parametrize("most", [0, LONGEST_VALUE + 1])
def test_the_source_can_not_be_told_to_accept_what_capture_would_cut(most):
    passwords = {name: "p" for name in OltpSettings.model_fields if name.endswith("_password")}
    assert OltpSettings(host="h", **passwords, max_value_bytes=LONGEST_VALUE).max_value_bytes == LONGEST_VALUE
    with pytest.raises(ValidationError, match="max_value_bytes"):
        OltpSettings(host="h", **passwords, max_value_bytes=most)
