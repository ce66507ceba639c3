"""`headrace connectors`: plan and apply capture, wired from the settings."""

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
from operations.epoch.history import read_identity
from operations.epoch.store import Epoch
from operations.probe import open_probe
from operations.settings import Settings
from schemas.tables import of_generation
from schemas.topics import topics

Say = Callable[[str], None]


def print_plan(settings: Settings, out: Console, *, json: bool) -> None:
    """Print what `apply` would do. Raises PlanRefused or SourceRestarted when it can't be done."""
    with open_probe(settings) as probe:
        epoch = guard.check_source(
            probe, barrier.read_postgres(probe), connections.oltp_conninfo(settings, "cdc_reader")
        )
        if epoch is not None:
            guard.require_raised(probe, epoch)
        pipeline = replace(probe.pipeline, epoch=epoch.number) if epoch else probe.pipeline
    found = capture.plan(pipeline, servers(settings))
    if json:
        changes = [step.describe() for step in found.changes]
        refused = [step.describe() for step in found.refusals]
        notes = [step.describe() for step in found.notes]
        out.print_json(orjson.dumps({"changes": changes, "refused": refused, "notes": notes}).decode())
    else:
        for step in (*found.notes, *found.changes):
            out.print(step.describe(), markup=False, soft_wrap=True)
        unchanged = len(found.steps) - len(found.changes) - len(found.notes)
        out.print(f"{len(found.changes)} change(s), {unchanged} already correct")
    found.check()


def apply(settings: Settings, say: Say) -> int:
    """Make capture match the tables and wait until records flow; return the number of changes.

    The first call begins epoch 1. Raises SourceRestarted when the source's history isn't the captured one.
    """
    replication = connections.oltp_conninfo(settings, "cdc_reader")
    with open_probe(settings) as probe:
        epoch = guard.check_or_stop(probe, barrier.read_postgres(probe), replication) or begin_first_epoch(
            settings, probe
        )
        guard.require_raised(probe, epoch)
        pipeline = replace(probe.pipeline, epoch=epoch.number)
    found = capture.plan(pipeline, servers(settings))
    beats = capture.apply(found, servers(settings), lambda step: say(step.describe()))
    capture.wait_ready(pipeline, servers(settings), beats, on_wait=say)
    if not found.changes:
        say("nothing to change; capture is streaming")
    return len(found.changes)


def begin_first_epoch(settings: Settings, probe: PipelineProbe) -> Epoch:
    """Record the source's current history as epoch 1. Only the migrator role may begin an epoch."""
    with closing(connections.report(settings, "migrator")) as report:
        store.begin(
            report,
            1,
            read_identity(probe.oltp),
            reason="capture begins",
            by=f"connectors apply on {socket.gethostname()}",
        )
    (epoch,) = store.epochs(probe.report)
    return epoch


def make_topics(settings: Settings) -> None:
    """Create the missing topics that workers need to start, for every generation that is fed."""
    bootstrap = settings.kafka.bootstrap
    generations = [of_generation(each.number) for each in connections.active_generations(settings)]
    wanted = {topic.name: topic for tables in generations for topic in topics(tables)}
    existing = clients.present(bootstrap, wanted)
    replication = settings.kafka.replication
    missing = [replication.of(topic) for name, topic in wanted.items() if name not in existing]
    kafka_topics.create_topics(bootstrap, missing)


def remove(settings: Settings, say: Say, *, topics: bool) -> None:
    """Remove connectors, slot and publication; with `topics`, also the captured records, but no dead letters."""
    capture.remove(Pipeline(), servers(settings), topics=topics, on_step=say)


def servers(settings: Settings) -> Servers:
    """Return the addresses of capture's servers. Logs in to the source once, so that a refusal names the setting."""
    connections.oltp(settings, "migrator").close()
    return Servers(
        oltp=connections.oltp_conninfo(settings, "migrator"),
        bootstrap=settings.kafka.bootstrap,
        connect_url=settings.connect.url,
    )
