"""One stack a process: real Postgres, Kafka, Connect, Debezium, registry and the MongoDB stand-in, migrated once.

HEADRACE_TEST_STACK_DIR names a folder whose stack is started if need be and left running, for quick repeats.
"""

import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from operations.settings import Settings, load
from stack import supervisor

if TYPE_CHECKING:
    from tests.support.archiving import Archiving

pytest.register_assert_rewrite("tests.support")  # a failure says what differs

ROOT = Path(__file__).parents[1]
OLIST = ROOT.parent / "shared" / "data" / "olist"
SQLSERVER = os.environ.get("HEADRACE_TEST_SQLSERVER")

# Selected by the setting, and said in the header: there is no SQL Server that a test could start.
collect_ignore_glob = [] if SQLSERVER else ["integration/test_*_sqlserver.py", "sqlserver/test_*.py"]

hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

# A shell without job control starts background jobs with SIGINT ignored, and every command under test would inherit it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> list[str]:
    """Say what this run covers, so that nothing is left out unseen."""
    sqlserver = "run" if SQLSERVER else "not selected: HEADRACE_TEST_SQLSERVER is unset"
    return [
        f"SQL Server's suites: {sqlserver}",
        f"Olist data: {'found' if OLIST.is_dir() else 'not there'}",
    ]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests in order."""
    from tests.support.parts import place_of

    items.sort(key=place_of)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let several processes take whole parts of the tests."""
    from tests.support.parts import PartScheduling

    return PartScheduling(config, log)


@pytest.fixture(scope="session")
def stack_folder() -> Iterator[Path]:
    """Start the servers of this process and return their folder; a server that does not start fails the run."""
    kept = os.environ.get("HEADRACE_TEST_STACK_DIR")
    if kept:
        worker = os.environ.get("PYTEST_XDIST_WORKER", "")  # of several processes, each has a folder of its own
        yield supervisor.up(Path(kept) / worker).folder
        return
    with tempfile.TemporaryDirectory(prefix="headrace-test-") as folder:
        path = Path(folder) / "stack"
        try:
            yield supervisor.up(path).folder
        finally:
            supervisor.down(path, wipe=True)


@pytest.fixture(scope="session")
def settings(stack_folder: Path) -> Settings:
    """Return the settings of the running stack, all databases migrated. Capture is applied by `capture`."""
    from operations import migrate

    os.environ["HEADRACE_ENV_FILE"] = str(stack_folder / "headrace.env")
    settings = load()
    migrate.migrate_oltp(settings)
    migrate.migrate_catalog(settings)
    migrate.migrate_reporting(settings, settings.reporting.generation)
    return settings


@pytest.fixture(scope="session")
def capture(settings: Settings) -> Settings:
    """Return the settings of the stack with both connectors streaming."""
    from operations import capture as connectors

    connectors.apply(settings, print)
    return settings


@pytest.fixture
def archive(settings: Settings) -> Iterator["Archiving"]:
    """Make an event topic of the test's own, and an archive in a folder of its own."""
    from tests.support.archiving import archiving

    with archiving(settings) as made:
        yield made
