"""Each command reads exactly the settings that operations/needs.py lists for it.

Workers run with these settings and no others. Short-lived commands run in this process, and what they read is recorded.
"""

import os
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import typer

from messaging import clients
from messaging.dead_letters import DeadLetters, Record
from operations.cli import app
from operations.needs import NEEDS
from operations.settings import PREFIX, Settings
from schemas.errors import BadRecord, HeadraceError
from tests.support.eventually import eventually
from tests.support.setting_names import variable
from tests.support.settings_reads import recorded_reads

ROOT = Path(__file__).parents[2]
SECTIONS = {"enrich": "ENRICH", "report": "SINK", "archive": "ARCHIVE", "watch": "WATCH"}
OF_THE_PLACE = ("oltp.port", "oltp.database", "reporting.adapter", "reporting.database", "catalog.database")


def value(settings: Settings, name: str) -> str:
    section, field = name.split(".")
    found = getattr(getattr(settings, section), field)
    return str(found.get_secret_value() if hasattr(found, "get_secret_value") else found)


@pytest.mark.parametrize("worker", SECTIONS)
def test_a_worker_becomes_ready_with_exactly_its_own_settings(
    worker: str, capture: Settings, tmp_path: Path, free_port: int
) -> None:
    needs = NEEDS[f"run {worker}"]
    sections = {name.partition(".")[0] for name in needs}
    place = [name for name in OF_THE_PLACE if name.partition(".")[0] in sections]
    env = {name: text for name, text in os.environ.items() if not name.startswith(PREFIX)}
    env |= {variable(name): value(capture, name) for name in (*needs, *place)}
    env |= {f"{PREFIX}{SECTIONS[worker]}__HTTP_PORT": str(free_port), "PYTHONPATH": str(ROOT)}
    if worker != "watch":
        env[f"{PREFIX}{SECTIONS[worker]}__GROUP"] = f"test-needs-{worker}-{free_port}"
    env |= {f"{PREFIX}ARCHIVE__URL": str(tmp_path)} if worker == "archive" else {}
    log = tmp_path / "worker.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "operations", "run", worker], cwd=tmp_path, env=env, stdout=out, stderr=out
        )
    try:
        eventually(lambda: process.poll() is not None or ready(free_port), 120)
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(30)


# A command line for each entry that is safe on the shared stack. `{dead}` is the origin of a dead letter.
COMMANDS = {
    "migrate": "migrate",
    "connectors plan": "connectors plan",
    "status": "status",
    "verify": "verify --deadline 0",
    "verify --topics": "verify --topics",
    "retention": "retention plan",
    "archive": "archive ls",
    "archive erase": "archive erase --tenant unknown --subject unknown --yes",
    "archive restore": "archive restore --to headrace-test-needs",
    "archive skip": "archive skip --yes",
    "archive backfill": "archive backfill --day 2001-01-01",
    "dlq": "dlq ls",
    "dlq show": "dlq show {dead}",
    "dlq redrive": "dlq redrive {dead}",
    "epoch ls": "epoch ls",
    "load": "load shop --orders 1",
}
# Errors that end a command after it has read its settings.
EXPECTED_ERRORS = {
    "verify": "the barrier was not passed in time",  # no worker runs
    "archive restore": "the schema registry refused a schema",  # events of an empty archive have none
}
OPTIONAL = {"status": "archive.url"}  # without it, status leaves the archive out
# Commands that would change the shared stack for other tests, or that read some of their settings only on an occasion.
NOT_RECORDED = {
    "connectors apply": "reads the reporting migrator's password only when it begins epoch 1",
    "connectors remove": "ends capture",
    "verify --repair": "reads its further settings only where rows differ; tests/integration/test_verify.py repairs",
    "epoch accept": "refuses unless the source was restored; tests/chaos/test_epoch.py accepts",
    "epoch raise": "tests/chaos/test_epoch.py raises",
    "replay": "tests/chaos/test_replay.py replays",
    "demo --running": "changes every table; make compose-demo runs it",
}


@pytest.fixture(scope="module")
def dead(capture: Settings) -> Iterator[str]:
    """Write a dead letter that no worker can land; return its origin."""
    record = Record(
        topic="shop.sales.payments",
        partition=0,
        offset=uuid4().int >> 70,
        timestamp=1,
        key=b"test-needs",
        value=b"junk",
        headers=[],
    )
    dead_letters = DeadLetters(clients.producer(capture.kafka.bootstrap), "report")
    dead_letters.send(record, BadRecord("not Avro"))
    dead_letters.confirm()
    origin = f"{record.topic}[{record.partition}]@{record.offset}"
    yield origin
    app(["dlq", "discard", origin, "--reason", "written by a test"], standalone_mode=False)


def test_each_entry_is_recorded_or_left_out_with_a_reason() -> None:
    workers = {f"run {worker}" for worker in SECTIONS}
    assert NEEDS.keys() == COMMANDS.keys() | NOT_RECORDED.keys() | workers
    assert not COMMANDS.keys() & NOT_RECORDED.keys()


@pytest.mark.parametrize("entry", COMMANDS)
def test_a_command_reads_exactly_the_settings_that_are_listed_for_it(
    entry: str, capture: Settings, dead: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{PREFIX}ARCHIVE__URL", str(tmp_path / "archive"))
    arguments = COMMANDS[entry].format(dead=dead).split()
    with recorded_reads() as reads:
        try:
            app(arguments, standalone_mode=False)
        except typer.Exit:  # of status, as no worker runs; of redrive, as the letter is rejected again
            pass
        except HeadraceError as error:
            assert EXPECTED_ERRORS[entry] in str(error), error
    assert reads - {OPTIONAL.get(entry)} == set(NEEDS[entry])


def ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:  # our own
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
