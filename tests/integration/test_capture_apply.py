"""Apply and remove capture: refused plans, lost slots, servers that are down, drifted topics and settings."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from connectors import apply, kafka_topics
from connectors.connect import ConfigRefused, Connect
from connectors.pipeline import Pipeline
from connectors.plan import PlanRefused
from connectors.steps import AlterTopic
from operations.settings import Settings
from schemas.errors import HeadraceError, Unavailable
from schemas.tables import Source
from schemas.topics import Replication, Topic
from tests.support.capture_pipeline import THINGS, THINGS_DDL, CapturePipeline, Declared, capture_pipeline, servers
from tests.support.eventually import eventually

TOPIC = "shop.sales.things"
PIPELINE = Declared(name="applied", ddl=THINGS_DDL, tables=(THINGS,))


def test_a_lost_slot_stops_capture_with_an_error_that_names_it(settings: Settings, stack_folder: Path) -> None:
    with capture_pipeline(settings, stack_folder, "harm_slot", THINGS_DDL, THINGS) as own, own.connect() as source:
        own.start()
        source.execute("INSERT INTO sales.things VALUES ('before', 1)")
        own.until(TOPIC, b'{"id":"before"}')
        connect, name = Connect(own.servers.connect_url), own.pipeline.connector(Source.POSTGRES)
        eventually(lambda: connect.offsets(name))
        connect.stop(name)
        eventually(
            lambda: (
                source.execute("SELECT FROM pg_replication_slots WHERE NOT active AND slot_name = 'harm_slot'").rowcount
            )
        )
        source.execute("SELECT pg_drop_replication_slot('harm_slot')")
        plan = apply.plan(own.pipeline, own.servers)
        with pytest.raises(PlanRefused, match=r"^replication slot harm_slot: REFUSED: it is gone, .*#slot-missing$"):
            apply.apply(plan, own.servers)
        connect.resume(name)
        eventually(lambda: connect.status(name).failure)
        with pytest.raises(apply.CaptureFailed, match=f"connector {name} failed: "):
            apply.ready(own.pipeline, own.servers, {})


def test_a_wrong_password_is_one_line_that_names_the_field(settings: Settings, stack_folder: Path) -> None:
    with capture_pipeline(settings, stack_folder, "harm_password", THINGS_DDL, THINGS) as own:
        wrong = Pipeline(
            name="harm_password", prefix="harm_password", database="harm_password", tables=(THINGS,), password="no"
        )
        with pytest.raises(
            ConfigRefused, match=r"^connector harm_password-postgres: database\.\w+: .*password"
        ) as refused:
            apply.apply(apply.plan(wrong, own.servers), own.servers)
        assert "\n" not in str(refused.value)


def test_connect_or_postgres_or_kafka_down_is_one_clear_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_topics, "TIMEOUT", 1.0)
    good = servers(settings, settings.oltp.database)
    line = Pipeline()
    for place, which in {"connect_url": "Kafka Connect", "bootstrap": "Kafka", "oltp": "Postgres"}.items():
        address = {"connect_url": "http://127.0.0.1:9", "bootstrap": "127.0.0.1:9", "oltp": "host=127.0.0.1 port=9"}
        values = {name: getattr(good, name) for name in ("connect_url", "bootstrap", "oltp")} | {place: address[place]}
        with pytest.raises(Unavailable, match=f"^{which}.*(answer|reach)") as down:
            apply.plan(line, apply.Servers(**values))
        assert "\n" not in str(down.value)


def test_drifted_topics_are_mended_and_a_wrong_partition_count_is_refused(
    settings: Settings, stack_folder: Path
) -> None:
    with capture_pipeline(settings, stack_folder, "harm_topics", THINGS_DDL, THINGS) as own:
        bootstrap = own.servers.bootstrap
        kafka_topics.create_topics(bootstrap, [Topic(name="harm_topics.sales.things", partitions=3, config={})])
        with pytest.raises(PlanRefused, match=r"topic harm_topics\.sales\.things: REFUSED: it has 3 partitions where"):
            apply.apply(apply.plan(own.pipeline, own.servers), own.servers)
        assert httpx.get(f"{own.servers.connect_url}/connectors/harm_topics-postgres").status_code == 404
        kafka_topics.delete_topics(bootstrap, ["harm_topics.sales.things"])
        eventually(lambda: not kafka_topics.read_topics(bootstrap, own.pipeline.topics()))
        own.start()
        kafka_topics.alter_topic(bootstrap, "harm_topics.sales.things", {"cleanup.policy": "delete"})
        plan = apply.plan(own.pipeline, own.servers)
        assert plan.changes == (AlterTopic(name="harm_topics.sales.things", config={"cleanup.policy": "compact"}),)
        apply.apply(plan, own.servers)
        assert eventually(lambda: apply.plan(own.pipeline, own.servers).changes == ())


def test_a_setting_that_an_operator_added_outlives_apply(own: CapturePipeline) -> None:
    connect, name = Connect(own.servers.connect_url), own.pipeline.connector(Source.POSTGRES)
    before = connect.config(name)
    assert before is not None
    connect.put(name, before | {"errors.log.enable": "true", "errors.tolerance": "all"})
    plan = apply.plan(own.pipeline, own.servers)
    assert [note.describe() for note in plan.notes] == [
        f"connector {name}: keeps what was added to it: errors.log.enable"
    ]
    beats = apply.apply(plan, own.servers)
    apply.wait_ready(own.pipeline, own.servers, beats)
    assert connect.config(name) == before | {"errors.log.enable": "true"}
    assert apply.plan(own.pipeline, own.servers).changes == ()


def test_topics_with_fewer_replicas_than_production_needs_are_named(own: CapturePipeline) -> None:
    line = replace(own.pipeline, replication=Replication(factor=3, in_sync=2))
    plan = apply.plan(line, own.servers)
    assert {note.about for note in plan.notes if "1 replica(s)" in note.text} == {
        f"topic {topic.name}" for topic in line.topics()
    }
    assert not [step for step in plan.changes if isinstance(step, AlterTopic)]
    topic = Topic(name="harm.replicated", partitions=1, config={}, replicas=3)
    with pytest.raises(
        HeadraceError, match=r"fewer brokers than HEADRACE_KAFKA__REPLICATION_FACTOR .*#too-few-replicas"
    ):
        kafka_topics.create_topics(own.servers.bootstrap, [topic])


def test_remove_leaves_nothing_but_the_records(settings: Settings, stack_folder: Path) -> None:
    with capture_pipeline(settings, stack_folder, "harm_remove", THINGS_DDL, THINGS) as own, own.connect() as source:
        own.start()
        apply.remove(own.pipeline, own.servers)
        assert source.execute("SELECT FROM pg_replication_slots WHERE slot_name = 'harm_remove'").rowcount == 0
        assert source.execute("SELECT FROM pg_publication").rowcount == 0
        assert Connect(own.servers.connect_url).seen("harm_remove-postgres") is None
        assert len(kafka_topics.read_topics(own.servers.bootstrap, own.pipeline.topics())) == len(own.pipeline.topics())
        source.execute("INSERT INTO sales.things VALUES ('again', 1)")
        own.start()
        (record,) = own.until(TOPIC, b'{"id":"again"}')
        assert record.datum["op"] == "r", "offsets of the removed connector were kept"
