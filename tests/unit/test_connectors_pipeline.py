"""The configurations that Connect is given, without Connect."""

import json
import re
from importlib.resources import files

import pytest

from connectors.pipeline import Pipeline, template
from schemas.tables import TABLES, Source
from schemas.topics import DEAD_LETTERS, DECISIONS, PENDING, topics
from schemas.wire import EPOCH_HEADER

SOURCES = [Source.POSTGRES, Source.MONGODB]


@pytest.mark.parametrize("source", SOURCES)
def test_every_placeholder_is_filled(source):
    for name, value in Pipeline().config(source).items():
        assert not re.search(r"(?<!\$)\{\w+\}", value), name


@pytest.mark.parametrize("source", SOURCES)
def test_addresses_and_secrets_come_from_connects_environment(source):
    config = Pipeline().config(source)
    wanted = {
        Source.POSTGRES: ["database.hostname", "database.port", "database.dbname", "database.password"],
        Source.MONGODB: ["mongodb.connection.string"],
    }
    for name in [*wanted[source], "value.converter.apicurio.registry.url"]:
        assert re.fullmatch(r"\$\{env:HEADRACE_[A-Z_]+\}", config[name]), name


@pytest.mark.parametrize("source", SOURCES)
def test_records_carry_the_epoch_that_the_line_is_in(source):
    assert Pipeline(epoch=3).config(source)["transforms.epoch.value.literal"] == "3"


@pytest.mark.parametrize("source", SOURCES)
def test_a_record_is_avro_by_its_own_schema_under_a_key_of_stable_bytes(source):
    config = template(source)
    assert config["key.converter"].endswith("JsonConverter") and config["key.converter.schemas.enable"] == "false"
    assert config["value.converter.apicurio.registry.find-latest"] == "false"
    assert config["value.converter.apicurio.registry.headers.enabled"] == "false"
    assert config["tombstones.on.delete"] == "false"
    assert config["transforms.epoch.header"] == EPOCH_HEADER


def test_the_include_list_matches_the_declared_tables_and_nothing_else():
    patterns = Pipeline().config(Source.POSTGRES)["table.include.list"].split(",")
    names = [f"{table.schema}.{table.relation}" for table in TABLES if table.source is not Source.MONGODB]
    for name in [*names, "sales.heartbeat", "sales.debezium_signal"]:
        assert sum(bool(re.fullmatch(pattern, name)) for pattern in patterns) == 1
    assert not any(re.fullmatch(pattern, other) for pattern in patterns for other in ("sales.sessions", "salesXorders"))


def test_every_field_of_an_event_but_its_derived_day_stands_beside_the_payload():
    placement = Pipeline().config(Source.POSTGRES)["transforms.outbox.table.fields.additional.placement"]
    assert {name.split(":")[0] for name in placement.split(",")} == {
        "tenant_id", "event_id", "aggregate_type", "aggregate_id", "event_type", "schema_version", "occurred_at",
        "traceparent",
    }  # fmt: skip
    assert "traceparent:header" in placement and "traceparent:envelope" in placement


def test_the_reference_line_has_all_topics_and_another_line_those_of_capture_under_its_prefix():
    assert Pipeline().topics() == topics()
    other = {topic.name for topic in Pipeline(name="x", prefix="x").topics()}
    assert {"x.sales.orders", "x.events.order", "x.catalog.products", "x.sales.heartbeat"} <= other
    assert not any(name.startswith(("shop.", "reporting.", "headrace.")) for name in other)


def test_heartbeat_topics_are_called_as_debezium_calls_them():
    """Debezium joins topic.heartbeat.prefix and topic.prefix with a dot."""
    for source in SOURCES:
        config = Pipeline().config(source)
        assert Pipeline().heartbeat_topic(source) == f"{config['topic.heartbeat.prefix']}.{config['topic.prefix']}"
        assert Pipeline().heartbeat_topic(source) in {topic.name for topic in topics()}


@pytest.mark.parametrize("source", SOURCES)
def test_the_json_files_hold_text_only_as_connect_answers_with_text(source):
    raw = json.loads(files("connectors").joinpath(f"{source}.json").read_text("utf-8"))
    assert all(isinstance(value, str) for value in raw.values())


def test_what_the_connectors_write_is_neither_the_workers_nor_a_dead_letter():
    every = {topic.name for topic in Pipeline().topics()}
    assert every - set(Pipeline().own_topics()) == {DEAD_LETTERS, DECISIONS, PENDING, "reporting.order_lines"}
    assert {name for name in every if "heartbeat" in name} <= set(Pipeline().own_topics())


def test_each_captured_topic_is_read_by_one_connector():
    pipeline = Pipeline()
    postgres, mongodb = pipeline.captured(Source.POSTGRES), pipeline.captured(Source.MONGODB)
    assert "shop.events.order" in postgres and "shop.catalog.price_history" in mongodb
    assert set(postgres) | set(mongodb) == {name for name in pipeline.own_topics() if "heartbeat" not in name}
    assert not set(postgres) & set(mongodb)
