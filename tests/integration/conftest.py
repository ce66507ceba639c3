"""A superuser and empty databases, for tests that would harm the stack's or that start from nothing."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from operations.migrate import migrate_oltp, migrate_reporting
from operations.settings import Settings
from tests.support.capture_pipeline import CapturePipeline, Declared, capture_pipeline
from tests.support.databases import Connection, empty_databases
from tests.support.landing import GENERATION, Landing, landing_line
from tests.support.migrated import OLTP_CHAIN, REPORTING_CHAIN, Login, logins


@pytest.fixture(scope="session")
def superuser(settings: Settings, stack_folder: Path) -> Iterator[Connection]:
    """The stack's superuser, for what only a database administrator does."""
    password = json.loads((stack_folder / "passwords.json").read_text())["postgres"]
    with psycopg.connect(
        host=settings.oltp.host,
        port=settings.oltp.port,
        user="postgres",
        password=password,
        dbname="postgres",
        autocommit=True,
    ) as connection:
        yield connection


@pytest.fixture(scope="module")
def empty(settings: Settings, superuser: Connection) -> Iterator[Callable[[], Settings]]:
    """A function whose settings name empty databases in Postgres; they are dropped at the end of the module."""
    with empty_databases(settings, superuser) as make:
        yield make


@pytest.fixture(scope="session")
def migrated(settings: Settings, superuser: Connection) -> Iterator[Settings]:
    """Settings of databases in Postgres that have been migrated from nothing."""
    with empty_databases(settings, superuser) as make:
        fresh = make()
        assert migrate_oltp(fresh) == OLTP_CHAIN
        assert migrate_reporting(fresh) == REPORTING_CHAIN
        yield fresh


@pytest.fixture(scope="module")
def login(migrated: Settings) -> Iterator[Login]:
    """A function that returns a role's connection to the migrated databases."""
    with logins(migrated) as connect:
        yield connect


@pytest.fixture(scope="module")
def landing_generation(settings: Settings) -> None:
    """The generation of reporting that `landing` lands in, migrated."""
    migrate_reporting(settings, GENERATION)


@pytest.fixture
def landing(settings: Settings, landing_generation: None) -> Iterator[Landing]:
    """A topic of orders of the test's own, and the sink workers that land it."""
    with landing_line(settings) as opened:
        yield opened


@pytest.fixture(scope="module")
def own(request: pytest.FixtureRequest, settings: Settings, stack_folder: Path) -> Iterator[CapturePipeline]:
    """The capture pipeline that the module declares as `PIPELINE`, streaming; removed at the end of the module."""
    declared: Declared = request.module.PIPELINE
    with capture_pipeline(settings, stack_folder, declared.name, declared.ddl, *declared.tables) as pipeline:
        pipeline.start()
        yield pipeline


@pytest.fixture
def source(own: CapturePipeline) -> Iterator[Connection]:
    """A connection to the source of the module's own capture pipeline."""
    with own.connect() as connection:
        yield connection
