"""The commands of docker-compose.yml, run on this machine exactly as they are written there, in the order in which the
file waits; only addresses and passwords are those of the stack without Docker. Reporting is SQL Server where
HEADRACE_TEST_SQLSERVER names one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from pydantic import SecretStr

from operations.settings import PREFIX
from stack import supervisor
from stack.folder import free_port
from tests.support import compose
from tests.support.eventually import eventually
from tests.support.sqlserver import empty, reporting

HEADRACE = Path(sys.executable).with_name("headrace")
SQLSERVER = os.environ.get("HEADRACE_TEST_SQLSERVER")
SERVICES = compose.of_headrace()
ORDER = [
    name
    for name in TopologicalSorter({name: service["depends_on"] for name, service in SERVICES.items()}).static_order()
    if name in SERVICES
]
# settings of this machine's servers: the stand-in has no users, and the tests choose how SQL Server's driver encrypts
LOCAL = {f"{PREFIX}CATALOG__USER", f"{PREFIX}CATALOG__PASSWORD", f"{PREFIX}REPORTING__ODBC"}
ADDRESSES = (f"{PREFIX}OLTP__PORT", f"{PREFIX}REPORTING__")  # a container has the port that is the default
SETTING = {"enrich": "ENRICH", "report": "SINK", "archive": "ARCHIVE", "watch": "WATCH"}
SECONDS = 600


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Servers of the test's own, nothing on them yet: the settings with which they are found."""
    folder = tmp_path / "stack"
    try:
        environment = supervisor.up(folder).environment()
        with ExitStack() as ends:
            if SQLSERVER:
                environment |= ends.enter_context(sqlserver(SQLSERVER))
            yield environment
    finally:
        supervisor.down(folder, wipe=True)


@contextmanager
def sqlserver(odbc: str) -> Iterator[dict[str, str]]:
    """Make an empty database on the tests' SQL Server, which is dropped at the end; its settings."""
    at = reporting(odbc)
    with empty(at):
        yield {f"{PREFIX}REPORTING__{name.upper()}": _plain(value) for name, value in at}


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def settings_of(name: str, place: dict[str, str]) -> dict[str, str]:
    """Return the service's environment with the addresses of `place`, without what the file doesn't set."""
    written = SERVICES[name]["environment"]
    assert written.keys() - place.keys() <= LOCAL
    given = {key: value for key, value in place.items() if key in written or key.startswith(ADDRESSES)}
    system = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    return system | given | {f"{PREFIX}STACK_DIR": "/nowhere"}


def once(name: str, place: dict[str, str]) -> str:
    """Run a service that ends; returns what it printed."""
    done = subprocess.run(
        [HEADRACE, *SERVICES[name]["command"]],
        env=settings_of(name, place),
        check=False,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@contextmanager
def running(name: str, place: dict[str, str], log: Path) -> Iterator[None]:
    """Run a worker until the block's end, which it must survive; the block begins when its health check passes."""
    port = free_port(taken=set())
    environment = settings_of(name, place) | {f"{PREFIX}{SETTING[name]}__HTTP_PORT": str(port)}
    _, _, *check = SERVICES[name]["healthcheck"]["test"]
    check[-1] = check[-1].replace(":8080/", f":{port}/")
    with (
        closing(log.open("w")) as out,
        subprocess.Popen([HEADRACE, *SERVICES[name]["command"]], env=environment, stdout=out, stderr=out) as worker,
    ):
        try:
            eventually(
                lambda: subprocess.run([sys.executable, *check], check=False, capture_output=True).returncode == 0,
                explain=log.read_text,
                poll_s=1,
            )
            yield
            assert worker.poll() is None, log.read_text()
        finally:
            worker.terminate()
            assert worker.wait(SECONDS) == 0, log.read_text()


def test_every_service_runs_as_the_file_says(place: dict[str, str], tmp_path: Path) -> None:
    said = {}
    with ExitStack() as workers:
        for name in ORDER:
            if SERVICES[name]["command"][0] == "run":
                workers.enter_context(running(name, place, tmp_path / f"{name}.log"))
            else:
                said[name] = once(name, place)
        print(said["demo"])
        assert "equal, every row compared" in said["demo"]
        assert said["migrate"] != said["connectors"]
        assert "oltp: nothing to do" in once("migrate", place)
        assert "nothing to change" in once("connectors", place)
