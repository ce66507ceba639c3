"""The parts of `headrace status`. Each queries its own servers, and raises HeadraceError where one does not answer."""

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from connectors.connect import Connect, ConnectorStatus
from connectors.pipeline import Pipeline
from connectors.state import FAILED
from messaging import clients
from operations import barrier, connections
from operations.console import invocation
from operations.dlq.metrics import count_open
from operations.epoch import guard
from operations.epoch.history import SourceRestarted
from operations.probe import open_probe
from operations.settings import Settings
from operations.stages import Stages
from schemas.generations import schema
from schemas.tables import TABLES, Mode
from sinks.reporting import control

MEGABYTE = 1 << 20

Cells = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part's answer: `found` for JSON, `rows` (name, state, detail) for the screen.

    `wrong` describes the fault, None where there is none.
    """

    found: Any
    rows: list[Cells]
    wrong: str | None = None


def servers(folder: Path) -> Part:
    """Return the servers that `headrace up` started in `folder`; none where it has started nothing."""
    try:
        from stack import supervisor
    except ImportError:  # an installation without the extra `stack` starts no servers
        return Part(found=[], rows=[])
    servers = [server for server in supervisor.status(folder) if server.port is not None]
    rows, down = [], []
    for server in servers:
        state = "ready" if server.ready else "no answer" if server.running else "stopped"
        at = f"port {server.port}, {server.memory_bytes / MEGABYTE:.0f} MB"
        rows.append((server.name, state, at if server.ready else f"log: {server.log}"))
        down += [] if server.ready else [f"{server.name} {state}"]
    found = [asdict(server) | {"log": str(server.log)} for server in servers]
    return Part(found=found, rows=rows, wrong=", ".join(down) or None)


def workers(folder: Path) -> Part:
    """Return the workers that `headrace up` started in `folder`; none where it has started nothing."""
    try:
        from operations import local_workers
    except ImportError:
        return Part(found=[], rows=[])
    workers = local_workers.workers(folder)
    rows = [
        (worker.name, "running", f"pid {worker.pid}, {worker.memory_bytes / MEGABYTE:.0f} MB")
        if worker.pid
        else (worker.name, "ended", f"`{invocation('up')}` starts it; log: {worker.log}")
        for worker in workers
    ]
    ended = [f"{worker.name} ended" for worker in workers if not worker.pid]
    found = [asdict(worker) | {"log": str(worker.log)} for worker in workers]
    return Part(found=found, rows=rows, wrong=", ".join(ended) or None)


def connectors(settings: Settings) -> Part:
    """Return the connectors' states, with the reason of a failure."""
    connect, pipeline = Connect(settings.connect.url), Pipeline()
    found = {name: connect.status(name) for name in map(pipeline.connector, pipeline.sources)}
    rows = [(name, each.overall.lower(), _failure(each)) for name, each in found.items()]
    wrong = [" ".join(cells).strip() for cells in rows if not found[cells[0]].running]
    return Part(
        found={name: asdict(each) | {"state": each.overall} for name, each in found.items()},
        rows=rows,
        wrong=", ".join(wrong) or None,
    )


def _failure(status: ConnectorStatus) -> str:
    """Return why a connector doesn't run, with the runbook's entry; empty where it runs."""
    if status.overall != FAILED:
        return status.failure or ""
    return f"{status.failure or 'no reason given'}; see docs/runbook.md#connector-failed"


def generations(settings: Settings) -> Part:
    """Return the generations of reporting that receive changes."""
    found = connections.active_generations(settings)
    rows = [(schema(each.number), str(each.state), f"records from epoch {each.epoch} on") for each in found]
    return Part(found=[asdict(each) for each in found], rows=rows)


def stages(settings: Settings) -> Part:
    """Return each stage's records and backlog."""
    with open_probe(settings) as probe:
        stages = Stages(probe).sample()
    return Part(
        found=[{"name": each.name, "records": each.records, "behind": each.behind} for each in stages],
        rows=[(each.name, f"{each.records:,} records", f"{each.behind:,} {each.unit} behind") for each in stages],
    )


def source(settings: Settings) -> Part:
    """Return the source's epoch, or why its history isn't the captured one."""
    try:
        with open_probe(settings) as probe:
            epoch = guard.check_source(
                probe, barrier.read_postgres(probe), connections.oltp_conninfo(settings, "cdc_reader")
            )
    except SourceRestarted as error:
        return Part(found=None, rows=[("", "restarted", str(error))], wrong=str(error))
    if epoch is None:
        return Part(found=None, rows=[("", "not captured", f"`{invocation('connectors apply')}` starts capture")])
    since = f"{epoch.raised_at:%Y-%m-%d %H:%M}, {epoch.reason}, timeline {epoch.identity.timeline}"
    return Part(found=asdict(epoch), rows=[("", f"epoch {epoch.number}", f"since {since}")])


def freshness(settings: Settings) -> Part:
    """Return up to when each table is complete, and its lag in seconds."""
    with closing(connections.report(settings, "reader")) as reader:
        found = [
            (name, float(lag), f"{through:%Y-%m-%d %H:%M:%S}")
            for name, through, lag in reader.query(*control.read_reported_freshness())
        ]
    return Part(
        found={name: {"lag_seconds": lag, "complete_through": through} for name, lag, through in found},
        rows=[(name, f"{lag:,.1f} s", f"complete through {through} UTC") for name, lag, through in found],
    )


def archive(settings: Settings) -> Part:
    """Return the archive's size and backlog; nothing where no archive is set."""
    if settings.archive.url is None:
        return Part(found=None, rows=[])
    manifest = connections.archive(settings, "status").manifest()
    topics = [topic for table in TABLES if table.mode is Mode.EVENT for topic in table.captured_topics]
    archived = manifest.archived(clients.topic_ids(settings.kafka.bootstrap, topics))
    ends = clients.end_offsets(settings.kafka.bootstrap, topics)
    rows, behind = sum(file.rows for file in manifest.files.values()), sum(ends.values()) - sum(archived.values())
    return Part(
        found={"files": len(manifest.files), "rows": rows, "behind": behind},
        rows=[("", f"{rows:,} rows", f"in {len(manifest.files):,} files, {behind:,} events behind")],
    )


def dead_letters(settings: Settings) -> Part:
    """Return the number of open dead letters."""
    dead = count_open(settings.kafka.bootstrap).total()
    return Part(found=dead, rows=[("", f"{dead:,} open", f"`{invocation('dlq ls')}` lists them" if dead else "")])
