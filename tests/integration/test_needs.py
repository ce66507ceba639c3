"""Each worker runs with the settings that operations/needs.py lists for it, and with no others."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from operations.needs import NEEDS
from operations.settings import PREFIX, Settings
from tests.support.eventually import eventually
from tests.support.setting_names import variable

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
