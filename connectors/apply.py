"""Capture, applied: looks at what there is, carries out a plan step by step, and tells when records really flow."""

import time
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field

from connectors import kafka_topics
from connectors.connect import Connect
from connectors.pipeline import Pipeline
from connectors.plan import (
    AlterPublication,
    AlterTopic,
    CreateConnector,
    CreatePublication,
    CreateTopic,
    Note,
    Plan,
    PlanRefusal,
    Restart,
    Resume,
    Seen,
    SetFullIdentity,
    Step,
    Unchanged,
    UpdateConnector,
)
from connectors.plan import plan as decide
from messaging.clients import end_offsets
from schemas.errors import HeadraceError, Unavailable

OnStep = Callable[[Step], None]
OnWait = Callable[[str], None]
_POLL_S = 0.1
_LOOK_S = 5.0  # how often a snapshot is looked at


class CaptureFailed(HeadraceError):
    """A connector has failed; the message holds its own reason. See docs/runbook.md#connector-failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """Where the servers are. `oltp` is a conninfo for the source as the owner of its tables, password included."""

    oltp: str = field(repr=False)
    bootstrap: str
    connect_url: str


# The end of each connector's heartbeat topic at some moment: a later record proves that it streams.
Beats = Mapping[str, int]


def plan(line: Pipeline, servers: Servers) -> Plan:
    """What `apply` would do. Changes nothing; raises Unavailable, naming the server that does not answer."""
    connect = Connect(servers.connect_url)
    connectors = {name: connect.seen(name) for name in map(line.connector, line.sources)}
    topics = kafka_topics.seen_topics(servers.bootstrap, line.topics())
    with kafka_topics.source(servers.oltp) as connection:
        seen = Seen(
            topics=topics,
            relations=kafka_topics.seen_relations(connection, line.relations),
            publication=kafka_topics.seen_publication(connection, line.publication),
            lacking_full=kafka_topics.lacking_full(connection, line.full_identity),
            slot=kafka_topics.seen_slot(connection, line.slot),
            connectors={name: found for name, found in connectors.items() if found is not None},
        )
    return decide(line, seen)


def apply(plan: Plan, servers: Servers, on_step: OnStep = lambda _: None) -> Beats:
    """Carry out a plan; `on_step` hears of each step that was done. Returns what `wait_ready` needs.

    Raises PlanRefused or ConfigRefused before anything was changed. May be stopped anywhere and planned again.
    """
    plan.check()
    connect, line = Connect(servers.connect_url), plan.line
    beginning = [step.topic for step in plan.steps if isinstance(step, CreateTopic)]
    for step in plan.steps:
        # A connector is checked against its databases: they must exist, but nothing else.
        if isinstance(step, (CreateConnector, UpdateConnector)):
            connect.validate(step.name, step.config)
    kafka_topics.create_topics(servers.bootstrap, beginning)
    # A topic made just now may have no leader yet; it has no records either.
    beats = _beats(line, servers, besides={topic.name for topic in beginning})
    with kafka_topics.source(servers.oltp) as connection:
        for step in plan.steps:
            _carry_out(step, servers, connect, connection)
            if not isinstance(step, Unchanged):
                on_step(step)
            if isinstance(step, UpdateConnector):
                beats = _beats(line, servers)  # its old task may have beaten until now
    return beats


def _carry_out(step: Step, servers: Servers, connect: Connect, connection: kafka_topics.Connection) -> None:
    match step:
        case AlterTopic(name=name, config=config):
            kafka_topics.alter_topic(servers.bootstrap, name, config)
        case SetFullIdentity(relation=relation):
            kafka_topics.set_full(connection, relation)
        case CreatePublication():
            kafka_topics.create_publication(connection, step)
        case AlterPublication():
            kafka_topics.alter_publication(connection, step)
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
            pass  # topics were made all at once


def ready(line: Pipeline, servers: Servers, beats: Beats) -> str | None:
    """None when every connector is RUNNING and has sent a heartbeat since `beats`; else what is still lacking.

    Connect says RUNNING before a task streams; a heartbeat is sent by the streaming loop itself. Raises CaptureFailed.
    """
    connect = Connect(servers.connect_url)
    for name in map(line.connector, line.sources):
        status = connect.status(name)
        if status.failure and not status.running:
            raise CaptureFailed(f"connector {name} failed: {status.failure}; see docs/runbook.md#connector-failed")
        if not status.running:
            return f"connector {name} is {status.state}, its tasks {', '.join(status.tasks) or 'not there yet'}"
    now = _beats(line, servers)
    silent = [topic for topic in now if now[topic] <= beats.get(topic, 0)]
    return f"no heartbeat yet in {', '.join(silent)}" if silent else None


def wait_ready(
    line: Pipeline, servers: Servers, beats: Beats, *, deadline_s: float = 60.0, on_wait: OnWait = lambda _: None
) -> None:
    """Return when `ready`; `on_wait` hears now and then how far a first snapshot is.

    A first snapshot takes as long as it takes, so the deadline of `deadline_s` seconds counts from the last record
    that it was seen to send. Raises CaptureFailed, or Unavailable, saying what is lacking.
    """
    end = time.monotonic() + deadline_s
    look, sent = time.monotonic() + min(_LOOK_S, deadline_s / 2), 0
    while (lacking := _lacking(line, servers, beats)) is not None:
        if time.monotonic() > look:
            before, sent = sent, _snapshot_records(line, servers)
            if sent > before:
                on_wait(f"the first snapshot is being read; its topics hold {sent:,} records")
                end = time.monotonic() + deadline_s
            look = time.monotonic() + min(_LOOK_S, deadline_s / 2)
        if time.monotonic() > end:
            raise Unavailable(f"capture does not stream: {lacking}; nothing has moved for {deadline_s:.0f} s")
        time.sleep(_POLL_S)


def _snapshot_records(line: Pipeline, servers: Servers) -> int:
    """How many records the topics hold of those connectors that are within their first snapshot; 0 for none."""
    connect = Connect(servers.connect_url)
    try:
        topics = [
            topic
            for source in line.sources
            if connect.snapshotting(line.connector(source))
            for topic in line.captured(source)
        ]
        return sum(end_offsets(servers.bootstrap, topics).values()) if topics else 0
    except Unavailable:
        return 0


def _lacking(line: Pipeline, servers: Servers, beats: Beats) -> str | None:
    try:
        return ready(line, servers, beats)
    except Unavailable as error:
        return str(error)


def remove(
    line: Pipeline, servers: Servers, *, topics: bool = False, on_step: Callable[[str], None] = lambda _: None
) -> None:
    """Remove the connectors with their offsets, the slot and the publication; with `topics` what they wrote, too.

    Dead letters stay: nothing else holds them. So does what the workers wrote from captured records.
    """
    connect = Connect(servers.connect_url)
    for name in map(line.connector, line.sources):
        if connect.seen(name) is not None:
            connect.delete(name)
            on_step(f"connector {name}: removed, with its offsets")
    with kafka_topics.source(servers.oltp) as connection:
        kafka_topics.drop_capture(connection, line)
        on_step(f"replication slot {line.slot} and publication {line.publication}: dropped")
    if topics:
        written = set(line.own_topics())
        names = kafka_topics.seen_topics(servers.bootstrap, [topic for topic in line.topics() if topic.name in written])
        kafka_topics.delete_topics(servers.bootstrap, names)
        on_step(
            f"{len(names)} captured topics: deleted; raise the epoch before capture is applied again "
            "(docs/runbook.md#topic-replaced)"
        )


def _beats(line: Pipeline, servers: Servers, besides: Container[str] = ()) -> Beats:
    topics = [topic for topic in map(line.heartbeat_topic, line.sources) if topic not in besides]
    return {topic: end for (topic, _), end in end_offsets(servers.bootstrap, topics).items()}
