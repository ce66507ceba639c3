"""`headrace run watch` where capture is harmed: a failed task, a slot that was moved, a generation that was dropped."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from connectors import apply
from connectors.connect import Connect
from connectors.state import STOPPED
from connectors.steps import Restart
from operations import connections, migrate
from operations.barrier import PipelineProbe
from operations.epoch import store
from operations.epoch.history import SourceRestarted, read_identity
from operations.generations import Generation, State
from operations.probe import connect_probe
from operations.replay import cutover as replayed
from operations.settings import Settings
from operations.status import parts
from operations.watch import metrics
from operations.watch.connectors import FIRST_S, Connectors
from operations.watch.worker import WatchWorker
from schemas.tables import Source
from sinks.reporting import control
from tests.support.capture_pipeline import THINGS, THINGS_DDL, CapturePipeline, Connection, capture_pipeline
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]
TOPIC = "shop.sales.things"
LATER = Generation(number=75, state=State.BUILDING, epoch=1)
WRONG = 1


@pytest.fixture
def own_reporting(empty: Callable[[], Settings]) -> Settings:
    """Settings with a reporting database of their own, in which no epoch has begun."""
    own = empty()
    migrate.migrate_reporting(own, 1)
    return own


@contextmanager
def watching(own: CapturePipeline, settings: Settings) -> Iterator[WatchWorker]:
    """A watch of a line of its own, from capture's first epoch on; it has no tables, so no workers are needed."""

    def probe() -> PipelineProbe:
        found = connect_probe(settings)
        found.oltp.close()
        return replace(found, pipeline=replace(own.pipeline, tables=()), oltp=own.connect())

    with own.connect() as source, closing(connections.report(settings, "migrator")) as report:
        store.begin(report, 1, read_identity(source), reason="capture begins", by="a test")
    watch = WatchWorker(
        connect=probe,
        connectors=Connectors(Connect(own.servers.connect_url), [own.pipeline.connector(Source.POSTGRES)]),
        generation=Generation(number=1, state=State.LIVE, epoch=1),
        replication=connections.oltp_conninfo(settings, "cdc_reader"),
        every=0.1,
    )
    try:
        yield watch
    finally:
        watch.close()


def slot(source: Connection, name: str) -> tuple[bool, int]:
    """Return whether the slot is in use, and its confirmed_flush_lsn."""
    ((active, confirmed),) = source.execute(
        "SELECT active, confirmed_flush_lsn - '0/0' FROM pg_replication_slots WHERE slot_name = %s", [name]
    ).fetchall()
    return active, int(confirmed)


def test_a_slot_moved_beyond_what_capture_has_read_stops_it_for_good(
    settings: Settings, stack_folder: Path, own_reporting: Settings
) -> None:
    """Debezium itself, whose check stops at the slot's restart_lsn, would go on behind the gap without a word."""
    name = "harm_moved"
    with capture_pipeline(settings, stack_folder, name, THINGS_DDL, THINGS) as own, own.connect() as source:
        own.start()
        source.execute("INSERT INTO sales.things VALUES ('before', 1)")
        own.until(TOPIC, b'{"id":"before"}')
        connect, connector = Connect(own.servers.connect_url), own.pipeline.connector(Source.POSTGRES)
        with watching(own, own_reporting) as watch:
            watch.turn()
            connect.stop(connector)
            eventually(lambda: not slot(source, name)[0])
            watch.turn()
            source.execute("INSERT INTO sales.things VALUES ('gap', 1)")
            create_again_ahead(source, name)
            with pytest.raises(SourceRestarted, match=rf"slot {name} was moved to \w+/\w+, .*#source-restarted$"):
                watch.turn()
            connect.resume(connector)
            eventually(lambda: slot(source, name)[0])
            with pytest.raises(SourceRestarted):  # whatever Connect has committed since
                watch.turn()
            assert connect.status(connector).state == STOPPED
        with closing(connections.report(own_reporting)) as report:
            assert "was moved to" in (store.epochs(report)[0].ended or "")


def create_again_ahead(source: Connection, name: str) -> None:
    """Drop the slot and create it with a confirmed_flush_lsn behind all that is written, and its old restart_lsn."""
    for statement in (
        "SELECT pg_copy_logical_replication_slot(%(name)s, %(copy)s)",
        "SELECT pg_drop_replication_slot(%(name)s)",
        "SELECT pg_replication_slot_advance(%(copy)s, pg_current_wal_insert_lsn())",
        "SELECT pg_copy_logical_replication_slot(%(copy)s, %(name)s)",
        "SELECT pg_drop_replication_slot(%(copy)s)",
    ):
        source.execute(statement, {"name": name, "copy": f"{name}_copy"})


def test_a_slot_is_never_ahead_of_connect_while_capture_runs_is_killed_or_snapshots(
    settings: Settings, stack_folder: Path, own_reporting: Settings, superuser: Connection
) -> None:
    with capture_pipeline(settings, stack_folder, "harm_ahead", THINGS_DDL, THINGS) as own, own.connect() as source:
        source.execute("INSERT INTO sales.things SELECT 'k' || i, 0 FROM generate_series(1, 20000) AS i")
        beats = apply.apply(apply.plan(own.pipeline, own.servers), own.servers)
        connect, connector = Connect(own.servers.connect_url), own.pipeline.connector(Source.POSTGRES)
        with watching(own, own_reporting) as watch:
            eventually(lambda: connect.offsets(connector))
            while apply.ready(own.pipeline, own.servers, beats) is not None:
                watch.turn()
            for turn in range(40):
                source.execute("UPDATE sales.things SET version = %s WHERE id < 'k2'", [turn])
                if turn % 10 == 5:  # the walsender dies within a transaction, and the task starts again
                    superuser.execute(
                        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                        "WHERE slot_name = 'harm_ahead'"
                    )
                watch.turn()


@pytest.fixture
def reader(superuser: psycopg.Connection[Any]) -> Iterator[str]:
    """A role of its own for capture, whose password may change: it is also its name."""
    name = "harm_reader"
    superuser.execute(f"CREATE ROLE {name} LOGIN REPLICATION PASSWORD '{name}' IN ROLE cdc_reader".encode())
    yield name
    superuser.execute(f"DROP ROLE {name}".encode())


def test_a_failed_task_is_called_failed_and_starts_again_when_its_cause_is_gone(
    settings: Settings,
    stack_folder: Path,
    superuser: psycopg.Connection[Any],
    reader: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with capture_pipeline(settings, stack_folder, "harm_login", THINGS_DDL, THINGS) as plain:
        own = replace(plain, pipeline=replace(plain.pipeline, user=reader, password=reader))
        own.start()
        connect, connector = Connect(own.servers.connect_url), own.pipeline.connector(Source.POSTGRES)
        connectors = Connectors(connect, [connector])
        connectors.check()
        assert running(connector) == 1
        assert states(connector) == {("connector", "RUNNING"), ("task 0", "RUNNING")}

        superuser.execute(f"ALTER ROLE {reader} PASSWORD 'another'".encode())
        connect.stop(connector)
        connect.resume(connector)
        eventually(lambda: connect.status(connector).overall == "FAILED")
        connectors.check()
        assert running(connector) == 0
        assert states(connector) == {("connector", "RUNNING"), ("task 0", "FAILED")}
        (step,) = apply.plan(own.pipeline, own.servers).changes
        assert isinstance(step, Restart)
        for said in (step.describe(), shown(settings, own, monkeypatch)):
            assert "failed" in said
            assert f'password authentication failed for user "{reader}"' in said
            assert "docs/runbook.md#connector-failed" in said

        superuser.execute(f"ALTER ROLE {reader} PASSWORD '{reader}'".encode())
        connectors.restart_failed(0.0)
        connectors.restart_failed(FIRST_S - 1)
        assert connect.status(connector).overall == "FAILED"
        connectors.restart_failed(FIRST_S)
        eventually(lambda: connect.status(connector).running)
        with own.connect() as source:
            source.execute("INSERT INTO sales.things VALUES ('after', 1)")
        own.until(TOPIC, b'{"id":"after"}')


def shown(settings: Settings, own: CapturePipeline, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the connectors' problems in `headrace status`."""
    monkeypatch.setattr(parts, "Pipeline", lambda: own.pipeline)
    part = parts.connectors(settings)
    assert part.found[own.pipeline.connector(Source.POSTGRES)]["state"] == "FAILED"
    return part.wrong or ""


def running(connector: str) -> float:
    return metrics.RUNNING.labels(connector)._value.get()


def states(connector: str) -> set[tuple[str, str]]:
    (family,) = metrics.STATE.collect()
    return {
        (sample.labels["part"], sample.labels["state"])
        for sample in family.samples
        if sample.labels["connector"] == connector and sample.value
    }


def test_connect_down_leaves_no_connector_that_counts_as_running() -> None:
    connectors = Connectors(Connect("http://127.0.0.1:9"), ["unreached"])
    connectors.check()
    assert running("unreached") == 0
    assert states("unreached") == set()


def test_the_watch_of_a_generation_that_was_dropped_ends_and_says_so(own_reporting: Settings, tmp_path: Path) -> None:
    migrate.migrate_reporting(own_reporting, LATER.number)
    with closing(connections.report(own_reporting, "migrator")) as report:
        report.execute(*control.add_generation(LATER.number, LATER.state, LATER.epoch))
    log = tmp_path / "watch.log"
    with log.open("w") as stderr:
        watch = subprocess.Popen(
            [sys.executable, "-m", "operations", "run", "watch", "--generation", str(LATER.number)],
            cwd=ROOT, stderr=stderr,
            env=os.environ | {"HEADRACE_REPORTING__DATABASE": own_reporting.reporting.database},
        )  # fmt: skip
    try:
        eventually(lambda: "serving" in log.read_text())
        with replayed.opened(own_reporting) as reporting:
            reporting.set_state(LATER.number, State.DROPPED)
            reporting.drop(LATER.number)
        eventually(lambda: watch.poll() is not None)
    finally:
        watch.kill()
    said = log.read_text()
    assert watch.returncode == WRONG, said
    assert "generation 75 of reporting was dropped" in said
    assert "Traceback" not in said
