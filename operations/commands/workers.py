"""`headrace migrate` and `headrace run`. Their work is imported when one runs, as in operations/cli.py."""

from enum import StrEnum
from typing import Annotated

import typer

from operations import settings as configuration
from operations.console import print_line


class WorkerName(StrEnum):
    """A worker that `headrace run` can run."""

    ENRICH = "enrich"
    REPORT = "report"
    ARCHIVE = "archive"
    WATCH = "watch"


def migrate() -> None:
    """Migrate the three databases to the newest version and set the roles' passwords."""
    from operations import migrate as migrations

    settings = configuration.of("migrate")
    migrations.migrate_oltp(settings, on_event=print_line)
    migrations.migrate_catalog(settings, on_event=print_line)
    migrations.migrate_reporting(settings, on_event=print_line)


def run(
    worker: WorkerName,
    generation: Annotated[
        int | None,
        typer.Option(help="The generation to feed; by default HEADRACE_REPORTING__GENERATION.", min=1),
    ] = None,
) -> None:
    """Run one worker until SIGTERM. It completes its current batch first."""
    from operations import run as workers

    settings = configuration.of(f"run {worker.value}")
    workers.run(worker.value, settings.of_generation(generation) if generation else settings)
