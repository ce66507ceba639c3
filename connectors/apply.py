"""Apply a capture plan: read the present state, carry out the plan's steps, and wait until records flow."""

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from connectors import kafka_topics, publication
from connectors.connect import Connect
from connectors.pipeline import Pipeline
from connectors.plan import Plan
from connectors.plan import plan as decide
from connectors.source import Connection, open_source
from connectors.state import Seen
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
    Step,
    Unchanged,
    UpdateConnector,
)
from messaging.clients import end_offsets
from schemas.errors import HeadraceError, Unavailable

OnStep = Callable[[Step], None]
OnWait = Callable[[str], None]
_POLL_S = 0.1
_SNAPSHOT_POLL_S = 5.0  # seconds between two checks of a snapshot


class CaptureFailed(HeadraceError):
    """A connector has failed; the message holds its own reason. See docs/runbook.md#connector-failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Addresses of the servers. `oltp` is a conninfo for the source as the owner of its tables, password included."""

    oltp: str = field(repr=False)
    bootstrap: str
    connect_url: str


# The end of each connector's heartbeat topic at some moment: a later record proves that it streams.
Beats = Mapping[str, int]


def plan(pipeline: Pipeline, servers: Servers) -> Plan:
    """Return what `apply` would do, and change nothing.

    Raises:
        Unavailable: A server does not answer; the message names it.
    """
    connect = Connect(servers.connect_url)
    connectors = {name: connect.seen(name) for name in map(pipeline.connector, pipeline.sources)}
    topics = kafka_topics.read_topics(servers.bootstrap, pipeline.topics())
    with open_source(servers.oltp) as connection:
        seen = Seen(
            topics=topics,
            relations=publication.read_relations(connection, pipeline.relations),
            publication=publication.read_publication(connection, pipeline.publication),
            lacking_full=publication.leaves_without_full(connection, pipeline.full_identity),
            slot=publication.read_slot(connection, pipeline.slot),
            connectors={name: found for name, found in connectors.items() if found is not None},
        )
    return decide(pipeline, seen)


def apply(plan: Plan, servers: Servers, on_step: OnStep = lambda _: None) -> Beats:
    """Carry out a plan, call `on_step` after each step, and return what `wait_ready` needs.

    It may be stopped anywhere and planned again.

    Raises:
        PlanRefused: The plan has refusals. Nothing was changed.
        ConfigRefused: Connect refuses a configuration. Nothing was changed.
    """
    plan.check()
    connect, pipeline = Connect(servers.connect_url), plan.pipeline
    beginning = [step.topic for step in plan.steps if isinstance(step, CreateTopic)]
    for step in plan.steps:
        # Connect checks a configuration against the databases, which must exist; nothing else has to.
        if isinstance(step, (CreateConnector, UpdateConnector)):
            connect.validate(step.name, step.config)
    kafka_topics.create_topics(servers.bootstrap, beginning)
    # A new topic may have no leader yet. It has no records either.
    beats = _beats(pipeline, servers, besides={topic.name for topic in beginning})
    with open_source(servers.oltp) as connection:
        for step in plan.steps:
            _carry_out(step, servers, connect, connection)
            if not isinstance(step, Unchanged):
                on_step(step)
            if isinstance(step, UpdateConnector):
                beats = _beats(pipeline, servers)  # its old task may have sent heartbeats until now
    return beats


def _carry_out(step: Step, servers: Servers, connect: Connect, connection: Connection) -> None:
    match step:
        case AlterTopic(name=name, config=config):
            kafka_topics.alter_topic(servers.bootstrap, name, config)
        case SetFullIdentity(relation=relation):
            publication.set_full(connection, relation)
        case CreatePublication():
            publication.create_publication(connection, step)
        case AlterPublication():
            publication.alter_publication(connection, step)
        case CreateConnector(name=name, config=config):
            connect.put(name, config)
        case UpdateConnector(name=name, config=config):
            connect.stop(name)
            connect.put(name, config)
        case Resume(name=name):
            connect.resume(name)
        case Restart(name=name):
            connect.restart(name)
        case Unchanged() | Note() | PlanRefusal() | CreateTopic():
            pass  # topics are created together, above


def ready(pipeline: Pipeline, servers: Servers, beats: Beats) -> str | None:
    """Return None when every connector is RUNNING and has sent a heartbeat since `beats`, otherwise what is missing.

    Connect says RUNNING before a task streams. The streaming loop itself sends heartbeats.

    Raises:
        CaptureFailed: A connector has failed.
    """
    connect = Connect(servers.connect_url)
    for name in map(pipeline.connector, pipeline.sources):
        status = connect.status(name)
        if status.failure and not status.running:
            raise CaptureFailed(f"connector {name} failed: {status.failure}; see docs/runbook.md#connector-failed")
        if not status.running:
            return f"connector {name} is {status.state}, its tasks {', '.join(status.tasks) or 'not there yet'}"
    now = _beats(pipeline, servers)
    silent = [topic for topic in now if now[topic] <= beats.get(topic, 0)]
    return f"no heartbeat yet in {', '.join(silent)}" if silent else None


def wait_ready(
    pipeline: Pipeline, servers: Servers, beats: Beats, *, deadline_s: float = 60.0, on_wait: OnWait = lambda _: None
) -> None:
    """Wait until `ready`, and report the progress of a first snapshot to `on_wait`.

    A first snapshot may take any time, so the deadline of `deadline_s` seconds counts from its last record.

    Raises:
        CaptureFailed: A connector has failed.
        Unavailable: The deadline has passed; the message says what is missing.
    """
    end = time.monotonic() + deadline_s
    next_check, sent = time.monotonic() + min(_SNAPSHOT_POLL_S, deadline_s / 2), 0
    while (lacking := _lacking(pipeline, servers, beats)) is not None:
        if time.monotonic() > next_check:
            before, sent = sent, _snapshot_records(pipeline, servers)
            if sent > before:
                on_wait(f"the first snapshot is being read; its topics hold {sent:,} records")
                end = time.monotonic() + deadline_s
            next_check = time.monotonic() + min(_SNAPSHOT_POLL_S, deadline_s / 2)
        if time.monotonic() > end:
            raise Unavailable(f"capture does not stream: {lacking}; nothing has moved for {deadline_s:.0f} s")
        time.sleep(_POLL_S)


def _snapshot_records(pipeline: Pipeline, servers: Servers) -> int:
    """Return the number of records in the topics of the connectors that are in their first snapshot; 0 for none."""
    connect = Connect(servers.connect_url)
    try:
        topics = [
            topic
            for source in pipeline.sources
            if connect.snapshotting(pipeline.connector(source))
            for topic in pipeline.captured(source)
        ]
        return sum(end_offsets(servers.bootstrap, topics).values()) if topics else 0
    except Unavailable:
        return 0


def _lacking(pipeline: Pipeline, servers: Servers, beats: Beats) -> str | None:
    try:
        return ready(pipeline, servers, beats)
    except Unavailable as error:
        return str(error)


def remove(
    pipeline: Pipeline, servers: Servers, *, topics: bool = False, on_step: Callable[[str], None] = lambda _: None
) -> None:
    """Remove the connectors with their offsets, the slot and the publication. With `topics`, delete what they wrote.

    Dead letters stay, because they have no other copy. The records that workers wrote from captured ones stay as well.
    """
    connect = Connect(servers.connect_url)
    for name in map(pipeline.connector, pipeline.sources):
        if connect.seen(name) is not None:
            connect.delete(name)
            on_step(f"connector {name}: removed, with its offsets")
    with open_source(servers.oltp) as connection:
        publication.drop_capture(connection, pipeline)
        on_step(f"replication slot {pipeline.slot} and publication {pipeline.publication}: dropped")
    if topics:
        written = set(pipeline.own_topics())
        names = kafka_topics.read_topics(
            servers.bootstrap, [topic for topic in pipeline.topics() if topic.name in written]
        )
        kafka_topics.delete_topics(servers.bootstrap, names)
        on_step(
            f"{len(names)} captured topics: deleted; raise the epoch before capture is applied again "
            "(docs/runbook.md#topic-replaced)"
        )


def _beats(pipeline: Pipeline, servers: Servers, besides: Container[str] = ()) -> Beats:
    topics = [topic for topic in map(pipeline.heartbeat_topic, pipeline.sources) if topic not in besides]
    return {topic: end for (topic, _), end in end_offsets(servers.bootstrap, topics).items()}
