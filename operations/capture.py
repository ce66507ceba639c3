"""`headrace connectors`: the plan and its application, wired from the settings."""

import socket
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

import orjson
from rich.console import Console

from connectors import apply as capture
from connectors import kafka_topics
from connectors.apply import Servers
from connectors.pipeline import Pipeline
from messaging import clients
from operations import barrier, connections
from operations.barrier import PipelineProbe
from operations.epoch import guard, store
from operations.epoch.history import identify
from operations.epoch.store import Epoch
from operations.settings import Settings
from schemas.tables import of_generation
from schemas.topics import topics

Say = Callable[[str], None]


def print_plan(settings: Settings, out: Console, *, json: bool) -> None:
    """Print what `apply` would do; raises PlanRefused, or SourceRestarted, when something stands in its way."""
    with connections.open_probe(settings) as probe:
        epoch = guard.check_source(probe, barrier.postgres(probe), connections.oltp_conninfo(settings, "cdc_reader"))
        if epoch is not None:
            guard.require_raised(probe, epoch)
        line = replace(probe.pipeline, epoch=epoch.number) if epoch else probe.pipeline
    found = capture.plan(line, servers(settings))
    if json:
        changes = [step.describe() for step in found.changes]
        refused = [step.describe() for step in found.refusals]
        notes = [step.describe() for step in found.notes]
        out.print_json(orjson.dumps({"changes": changes, "refused": refused, "notes": notes}).decode())
    else:
        for step in (*found.notes, *found.changes):
            out.print(step.describe(), markup=False, soft_wrap=True)
        as_they_should_be = len(found.steps) - len(found.changes) - len(found.notes)
        out.print(f"{len(found.changes)} change(s), {as_they_should_be} as they should be")
    found.check()


def apply(settings: Settings, say: Say) -> int:
    """Make capture match the tables and wait until records flow; returns how many things were changed.

    The first time ever, epoch 1 begins. Raises SourceRestarted when the source isn't the one that was captured.
    """
    replication = connections.oltp_conninfo(settings, "cdc_reader")
    with connections.open_probe(settings) as probe:
        epoch = guard.guard(probe, barrier.postgres(probe), replication) or begin(settings, probe)
        guard.require_raised(probe, epoch)
        line = replace(probe.pipeline, epoch=epoch.number)
    found = capture.plan(line, servers(settings))
    beats = capture.apply(found, servers(settings), lambda step: say(step.describe()))
    capture.wait_ready(line, servers(settings), beats, on_wait=say)
    if not found.changes:
        say("nothing to change; capture streams")
    return len(found.changes)


def begin(settings: Settings, probe: PipelineProbe) -> Epoch:
    """Epoch 1: the history that the source has now. As the migrator, who alone begins epochs."""
    with closing(connections.report(settings, "migrator")) as report:
        store.record(
            report, 1, identify(probe.oltp), reason="capture begins", by=f"connectors apply on {socket.gethostname()}"
        )
    (epoch,) = store.epochs(probe.report)
    return epoch


def make_topics(settings: Settings) -> None:
    """Make the topics that are not there yet: all that workers need to start, of every generation that is fed."""
    bootstrap = settings.kafka.bootstrap
    fed = [of_generation(each.number) for each in connections.fed(settings)]
    wanted = {topic.name: topic for tables in fed for topic in topics(tables)}
    there = clients.present(bootstrap, wanted)
    replication = settings.kafka.replication
    missing = [replication.of(topic) for name, topic in wanted.items() if name not in there]
    kafka_topics.create_topics(bootstrap, missing)


def remove(settings: Settings, say: Say, *, topics: bool) -> None:
    """Remove connectors, slot and publication; when asked, what they wrote as well, but never a dead letter."""
    capture.remove(Pipeline(), servers(settings), topics=topics, on_step=say)


def servers(settings: Settings) -> Servers:
    """Where capture's servers are. The source's login is tried now, so that a refusal names the setting."""
    connections.oltp(settings, "migrator").close()
    return Servers(
        oltp=connections.oltp_conninfo(settings, "migrator"),
        bootstrap=settings.kafka.bootstrap,
        connect_url=settings.connect.url,
    )
