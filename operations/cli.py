"""The `headrace` command: reads settings, wires the rooms together, turns errors into one clear line.

Exit codes: 0 done (or equal), 1 something is wrong (or different), 2 it could not be decided or the call was wrong,
130 interrupted. Rooms are imported when their command runs: `headrace --help` starts fast, and nothing of the stack,
the shop or an ODBC driver is needed where it isn't used.
"""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from operations import settings as configuration
from operations.commands.archive import app as archive_app
from operations.commands.dlq import app as dlq_app
from operations.commands.epoch import app as epoch_app
from operations.commands.replay import replay
from operations.commands.verify import verify
from operations.terminal import INTERRUPTED, UNDECIDED, WRONG, Json, err, out, say
from schemas.errors import HeadraceError, Unavailable

app = typer.Typer(
    help="Streams orders, payments and events from Postgres into reporting, and proves that the report is right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
connectors_app = typer.Typer(no_args_is_help=True, help="Make Kafka Connect, topics and publication match the tables.")
load_app = typer.Typer(no_args_is_help=True, help="Trade: the pretend back end that writes orders.")
retention_app = typer.Typer(no_args_is_help=True, help="What is too old: shown, and deleted where the archive has it.")
app.command()(verify)
app.add_typer(archive_app, name="archive")
app.add_typer(connectors_app, name="connectors")
app.add_typer(dlq_app, name="dlq")
app.add_typer(epoch_app, name="epoch")
app.add_typer(load_app, name="load")
app.add_typer(retention_app, name="retention")
app.command()(replay)


class WorkerName(StrEnum):
    """What `headrace run` can run."""

    ENRICH = "enrich"
    REPORT = "report"
    ARCHIVE = "archive"
    WATCH = "watch"


@app.command()
def up() -> None:
    """Start the servers on this machine, migrate them and begin to capture. Harmless when they run already."""
    from operations import local

    local.up(configuration.stack_dir(), out)


@app.command()
def down(wipe: Annotated[bool, typer.Option("--wipe", help="Delete their data as well.")] = False) -> None:
    """Stop the workers and servers that `headrace up` or the demo started on this machine."""
    from operations import local

    local.down(configuration.stack_dir(), out, wipe=wipe)


@app.command()
def status(json: Json = False) -> None:
    """How the servers, workers and connectors are, and what has not landed yet. Exit 0 when all of them run, else 1."""
    from operations import status as stages

    if not stages.show(configuration.of("status"), configuration.stack_dir(), out, json=json):
        raise typer.Exit(WRONG)


@app.command()
def migrate() -> None:
    """Bring the three databases to the newest version and set the roles' passwords."""
    from operations import migrate as migrations

    settings = configuration.of("migrate")
    migrations.migrate_oltp(settings, on_event=say)
    migrations.migrate_catalog(settings, on_event=say)
    migrations.migrate_reporting(settings, on_event=say)


@connectors_app.command("plan")
def connectors_plan(json: Json = False) -> None:
    """Print what `connectors apply` would change. Exit code 0 also when there is something to do."""
    from operations import capture

    capture.show_plan(configuration.of("connectors plan"), out, json=json)


@connectors_app.command("apply")
def connectors_apply() -> None:
    """Make topics, publication and connectors match schemas/tables.py; a second time changes nothing."""
    from operations import capture

    capture.apply(configuration.of("connectors apply"), say)


@connectors_app.command("remove")
def connectors_remove(
    topics: Annotated[
        bool,
        typer.Option(
            "--topics", help="Delete the captured records, too (see docs/runbook.md#topic-replaced); dead letters stay."
        ),
    ] = False,
) -> None:
    """Remove the connectors with their offsets, the replication slot and the publication."""
    from operations import capture

    capture.remove(configuration.of("connectors remove"), say, topics=topics)


@app.command()
def run(
    worker: WorkerName,
    generation: Annotated[
        int | None,
        typer.Option(help="Which one to feed; by default HEADRACE_REPORTING__GENERATION.", min=1),
    ] = None,
) -> None:
    """Run one worker until SIGTERM, which finishes the batch in hand."""
    from operations import run as workers

    settings = configuration.of(f"run {worker.value}")
    workers.run(worker.value, settings.of_generation(generation) if generation else settings)


Hold = Annotated[
    list[str] | None,
    typer.Option(metavar="tenant=NAME", help="Delete nothing of this tenant; as the policy's [hold] does."),
]


@retention_app.command("plan")
def retention_plan(hold: Hold = None, json: Json = False) -> None:
    """Print what is too old, store by store, and whether the archive holds it. Deletes nothing."""
    _retention(hold or [], apply=False, json=json)


@retention_app.command("apply")
def retention_apply(hold: Hold = None, json: Json = False) -> None:
    """Delete what is too old and proven to be archived; make partitions ahead. Exit 1 when something had to stay."""
    _retention(hold or [], apply=True, json=json)


def _retention(hold: list[str], *, apply: bool, json: bool) -> None:
    from operations.retention import run as retention

    wrong = [each for each in hold if not each.removeprefix("tenant=") or not each.startswith("tenant=")]
    if wrong:
        raise typer.BadParameter(f"expected tenant=NAME, got {wrong[0]!r}", param_hint="--hold")
    held = frozenset(each.removeprefix("tenant=") for each in hold)
    if not retention.run(configuration.of("retention"), out, apply=apply, held=held, json=json):
        raise typer.Exit(WRONG)


Rate = Annotated[float, typer.Option(help="Orders a second; 0 is as fast as it goes.", min=0)]


@load_app.command("shop")
def load_shop(
    orders: Annotated[int, typer.Option(help="How many orders.", min=1)] = 2_000,
    seed: Annotated[int, typer.Option(help="Another seed is another shop.")] = 1,
    rate: Rate = 0,
) -> None:
    """Trade with generated orders. The same call again goes on where the first one stopped."""
    from operations import load

    load.show(configuration.of("load"), out, load.history(folder=None, orders=orders, seed=seed), rate=rate)


@load_app.command("olist")
def load_olist(
    folder: Annotated[Path, typer.Argument(help="Where Olist's CSV files are.")],
    rate: Rate = 0,
    speedup: Annotated[float, typer.Option(help="Play time this many times faster than it was; 0: don't.", min=0)] = 0,
) -> None:
    """Play real orders, in the order in which they happened."""
    from operations import load

    past = load.history(folder=folder, orders=0, seed=0)
    load.show(configuration.of("load"), out, past, rate=rate, speedup=speedup)


@app.command()
def demo(
    orders: Annotated[int, typer.Option(help="How many orders the pretend shop trades.", min=1)] = 2_000,
    olist: Annotated[Path | None, typer.Option(help="Play the real orders of this folder instead.")] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running at the end.")] = False,
    running: Annotated[
        bool, typer.Option("--running", help="Start nothing: show the line that the settings name, and leave it be.")
    ] = False,
) -> None:
    """Start everything, trade, watch it arrive, and prove that reporting equals Postgres."""
    from operations import demo as show

    if running:
        equal = show.run_on(configuration.of("demo --running"), out, orders=orders, olist=olist)
    else:
        equal = show.run(configuration.stack_dir(), out, orders=orders, olist=olist, keep=keep)
    if not equal:
        raise typer.Exit(WRONG)


def main() -> None:
    """The entry point: what went wrong is one clear line on stderr, never a traceback."""
    try:
        app()
    except Unavailable as error:
        err.print(f"headrace: {error}", style="red", markup=False)
        sys.exit(UNDECIDED)
    except HeadraceError as error:
        err.print(f"headrace: {error}", style="red", markup=False)
        sys.exit(WRONG)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:
        from operations.connections import explained, of_a_server

        if not of_a_server(error):
            raise
        err.print(f"headrace: a server went away or refused: {explained(error)}", style="red", markup=False)
        sys.exit(UNDECIDED)
