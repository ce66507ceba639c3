"""The `headrace` command: assembles the commands, and turns an error into one line and an exit code.

Exit codes: 0 done (or equal), 1 failed (or different), 2 undecided or wrong usage, 130 interrupted. Each command
imports its work when it runs: `headrace --help` starts fast, and a command needs neither the stack, the shop nor an
ODBC driver unless it uses them.
"""

import sys

import typer

from operations.commands import archive, connectors, dlq, epoch, load, replay, retention, stack, verify, workers
from operations.console import EXIT_INTERRUPTED, EXIT_UNDECIDED, print_error
from schemas.errors import HeadraceError

app = typer.Typer(
    help="Streams orders, payments and events from Postgres into reporting, and proves that the report is right.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command()(verify.verify)
app.add_typer(archive.app, name="archive")
app.add_typer(connectors.app, name="connectors")
app.add_typer(dlq.app, name="dlq")
app.add_typer(epoch.app, name="epoch")
app.add_typer(load.app, name="load")
app.add_typer(retention.app, name="retention")
for command in (replay.replay, stack.up, stack.down, stack.status, workers.migrate, workers.run, stack.demo):
    app.command()(command)


def main() -> None:
    """Run the command. An error that is expected becomes one line on stderr, not a traceback."""
    try:
        app()
    except HeadraceError as error:
        print_error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        from operations.connections import explained, of_a_server

        if not of_a_server(error):
            raise
        print_error(f"a server went away or refused: {explained(error)}")
        sys.exit(EXIT_UNDECIDED)
