"""The steps to the declared state, computed without a server."""

from dataclasses import replace

import pytest

from connectors.pipeline import HEARTBEAT, SIGNALS, Pipeline
from connectors.plan import PlanRefused, plan
from connectors.state import Seen, SeenConnector, SeenTopic
from connectors.steps import (
    AlterPublication,
    AlterTopic,
    CreateConnector,
    CreatePublication,
    CreateTopic,
    Note,
    PlanRefusal,
    Restart,
    Resume,
    SetFullIdentity,
    Unchanged,
    UpdateConnector,
)
from schemas.tables import ORDERS, PAYMENTS, TABLES, Column, Source
from schemas.topics import DEAD_LETTERS, Replication
from schemas.types import Text

PIPELINE = Pipeline()
FRESH = Seen(
    topics={}, relations=frozenset(PIPELINE.relations), publication=None, lacking_full=(), slot=None, connectors={}
)
APPLIED = Seen(
    topics={topic.name: SeenTopic(partitions=topic.partitions, config=topic.config) for topic in PIPELINE.topics()},
    relations=frozenset(PIPELINE.relations),
    publication=frozenset(PIPELINE.relations),
    lacking_full=(),
    slot="reserved",
    connectors={
        PIPELINE.connector(source): SeenConnector(
            config=PIPELINE.config(source) | {"name": PIPELINE.connector(source)}, state="RUNNING", offsets=True
        )
        for source in PIPELINE.sources
    },
)


def kinds(found):
    return [type(step) for step in found.changes]


def altered(source, **changes):
    name = PIPELINE.connector(source)
    return replace(APPLIED, connectors=dict(APPLIED.connectors) | {name: replace(APPLIED.connectors[name], **changes)})


def test_on_fresh_servers_topics_and_publication_are_made_before_the_connectors():
    assert kinds(plan(PIPELINE, FRESH)) == [CreateTopic] * len(PIPELINE.topics()) + [
        CreatePublication,
        *[CreateConnector] * 2,
    ]


def test_a_first_publication_asks_for_no_rows_as_the_snapshot_reads_them():
    (step,) = [step for step in plan(PIPELINE, FRESH).steps if isinstance(step, CreatePublication)]
    assert (step.relations, step.backfill) == (PIPELINE.relations, ())


def test_what_is_as_it_should_be_changes_nothing():
    found = plan(PIPELINE, APPLIED)
    assert found.changes == () and found.refusals == ()
    assert {type(step) for step in found.steps} == {Unchanged}


def test_a_new_table_is_published_and_read_only_while_its_connector_knows_it_and_stands_still():
    old = Pipeline(tables=tuple(table for table in TABLES if table is not PAYMENTS))
    name = old.connector(Source.POSTGRES)
    before = SeenConnector(config=old.config(Source.POSTGRES) | {"name": name}, state="RUNNING", offsets=True)
    seen = replace(APPLIED, publication=frozenset(old.relations), connectors=dict(APPLIED.connectors) | {name: before})
    update, publish, resume = plan(PIPELINE, seen).changes
    assert isinstance(update, UpdateConnector) and update.changed == ("table.include.list",)
    assert publish == AlterPublication(name="headrace", add=("sales.payments",), drop=(), backfill=("sales.payments",))
    assert resume == Resume(name=name)


def test_an_apply_that_stopped_halfway_is_taken_up_where_it_stopped():
    halfway = replace(
        altered(Source.POSTGRES, state="STOPPED"), publication=frozenset(PIPELINE.relations) - {"sales.payments"}
    )
    assert kinds(plan(PIPELINE, halfway)) == [AlterPublication, Resume]


def test_a_table_that_is_declared_no_longer_leaves_the_publication_and_nothing_is_read():
    seen = replace(APPLIED, publication=APPLIED.publication | {"sales.outdated"})
    (step,) = plan(PIPELINE, seen).changes
    assert (step.add, step.drop, step.backfill) == ((), ("sales.outdated",), ())


def test_a_publication_that_vanished_under_a_slot_is_made_again_and_all_tables_are_read():
    (step,) = plan(PIPELINE, replace(APPLIED, publication=None)).changes
    assert set(step.backfill) == set(PIPELINE.relations) - {SIGNALS}


@pytest.mark.parametrize("slot", [None, "lost"])
def test_a_lost_slot_is_refused_as_changes_are_missing(slot):
    found = plan(PIPELINE, replace(APPLIED, slot=slot))
    with pytest.raises(PlanRefused, match=r"replication slot headrace: REFUSED: .*#slot-missing"):
        found.check()


def test_a_connector_that_has_not_begun_may_have_no_slot_yet():
    assert not plan(PIPELINE, replace(altered(Source.POSTGRES, offsets=False), slot=None)).refusals


def test_a_wrong_partition_count_is_refused_and_names_both():
    topics = dict(APPLIED.topics) | {"shop.sales.orders": SeenTopic(partitions=7, config={})}
    (refusal,) = plan(PIPELINE, replace(APPLIED, topics=topics)).refusals
    assert refusal.about == "topic shop.sales.orders"
    assert "7 partitions where schemas/tables.py says 4" in refusal.reason


def test_a_table_whose_record_kafka_would_not_carry_is_refused():
    text = Column(name="text", type=Text())
    wide = replace(ORDERS, name="wide", columns=(*ORDERS.columns, *[text] * 4))
    seen = replace(APPLIED, relations=frozenset({*PIPELINE.relations, "sales.wide"}))
    (refusal,) = plan(Pipeline(tables=(wide,)), seen).refusals
    assert refusal.about == "table wide"
    assert "declare a length for its texts" in refusal.reason


def test_only_drifted_settings_of_a_topic_are_set_again():
    wanted = APPLIED.topics["shop.sales.orders"]
    drifted = replace(wanted, config=dict(wanted.config) | {"cleanup.policy": "delete", "retention.ms": "1"})
    (step,) = plan(PIPELINE, replace(APPLIED, topics=dict(APPLIED.topics) | {"shop.sales.orders": drifted})).changes
    assert step == AlterTopic(name="shop.sales.orders", config={"cleanup.policy": "compact"})


def test_a_missing_table_is_refused_before_anything_is_done():
    found = plan(PIPELINE, replace(FRESH, relations=FRESH.relations - {"sales.orders"}))
    assert found.refusals == (
        PlanRefusal(about="table sales.orders", reason="it does not exist; run `headrace migrate` first"),
    )


def test_a_leaf_without_full_identity_is_set_before_the_connectors_start():
    found = plan(PIPELINE, replace(FRESH, lacking_full=("sales.orders_2026_01_h0",)))
    order = kinds(found)
    assert order.index(SetFullIdentity) < order.index(CreateConnector)


def test_a_failed_connector_is_restarted_and_its_reason_said():
    (step,) = plan(PIPELINE, altered(Source.MONGODB, state="FAILED", failure="no primary")).changes
    assert step == Restart(name="headrace-mongodb", failure="no primary")
    assert step.describe() == (
        "connector headrace-mongodb: restart; it failed: no primary; see docs/runbook.md#connector-failed"
    )


def test_a_setting_of_ours_that_somebody_changed_is_taken_back_and_what_they_added_stays():
    config = dict(APPLIED.connectors["headrace-postgres"].config) | {"snapshot.mode": "always", "extra": "secret"}
    found = plan(PIPELINE, altered(Source.POSTGRES, config=config))
    update, resume = found.changes
    assert update.changed == ("snapshot.mode",)
    assert update.config == PIPELINE.config(Source.POSTGRES) | {"extra": "secret"}
    assert "always" not in update.describe() and isinstance(resume, Resume)
    assert found.notes == (Note(about="connector headrace-postgres", text="keeps what was added to it: extra"),)


def test_what_somebody_added_is_shown_and_is_no_reason_to_change_anything():
    config = dict(APPLIED.connectors["headrace-postgres"].config) | {"column.exclude.list": "a", "extra": "secret"}
    found = plan(PIPELINE, altered(Source.POSTGRES, config=config))
    assert found.changes == ()
    assert [note.describe() for note in found.notes] == [
        "connector headrace-postgres: keeps what was added to it: column.exclude.list, extra"
    ]


REPLICATED = replace(PIPELINE, replication=Replication(factor=3, in_sync=2))


def replicated(replicas, in_sync):
    return replace(
        APPLIED,
        topics={
            name: replace(topic, replicas=replicas, config=dict(topic.config) | {"min.insync.replicas": in_sync})
            for name, topic in APPLIED.topics.items()
        },
    )


def test_a_topic_is_made_with_the_replicas_that_production_needs():
    made = [step.topic for step in plan(REPLICATED, FRESH).steps if isinstance(step, CreateTopic)]
    assert {(topic.replicas, topic.config["min.insync.replicas"]) for topic in made} == {(3, "2")}


def test_a_topic_with_enough_replicas_is_told_how_many_must_be_in_sync():
    found = plan(REPLICATED, replicated(3, "1"))
    assert {type(step) for step in found.changes} == {AlterTopic}
    assert {tuple(step.config.items()) for step in found.changes} == {(("min.insync.replicas", "2"),)}
    assert plan(REPLICATED, replicated(3, "2")).changes == plan(REPLICATED, replicated(4, "2")).notes == ()


def test_a_topic_with_too_few_replicas_is_warned_of_and_never_made_unwritable():
    found = plan(REPLICATED, replicated(1, "1"))
    assert found.changes == found.refusals == (), "two in sync of one would refuse every write"
    assert {note.about for note in found.notes} == {f"topic {topic.name}" for topic in PIPELINE.topics()}
    assert "has 1 replica(s) where HEADRACE_KAFKA__REPLICATION_FACTOR says 3" in found.notes[0].describe()


def test_every_step_has_a_line_of_its_own():
    said = plan(PIPELINE, FRESH).describe()
    assert len(said) == len(set(said)) and not any("\n" in line for line in said)
    assert "connector headrace-postgres: create" in said


def test_a_plan_shows_no_configuration_and_so_no_secret():
    pipeline = Pipeline(password="secret", uri="mongodb://me:secret@host")
    found = plan(pipeline, FRESH)
    assert "secret" not in repr(found.steps) + "".join(found.describe())


def test_a_line_without_documents_needs_no_mongodb_connector():
    pipeline = Pipeline(tables=(ORDERS,), prefix="mine", name="mine")
    assert pipeline.sources == (Source.POSTGRES,)
    assert pipeline.relations == ("sales.orders", HEARTBEAT, SIGNALS)
    assert [topic.name for topic in pipeline.topics()] == [
        "mine.sales.orders", "__debezium-heartbeat.postgres.mine", "__debezium-heartbeat.mongodb.mine",
        "mine.sales.heartbeat",
    ]  # fmt: skip


def test_dead_letters_of_an_older_version_are_given_room_for_the_longest_record():
    (wanted,) = [topic for topic in PIPELINE.topics() if topic.name == DEAD_LETTERS]
    older = SeenTopic(partitions=1, config=dict(wanted.config) | {"max.message.bytes": "1048588"})
    seen = replace(APPLIED, topics=dict(APPLIED.topics) | {DEAD_LETTERS: older})
    assert plan(PIPELINE, seen).changes == (
        AlterTopic(name=DEAD_LETTERS, config={"max.message.bytes": wanted.config["max.message.bytes"]}),
    )
