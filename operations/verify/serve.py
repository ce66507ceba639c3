"""Run `headrace verify --follow` until a signal stops it, and serve its metrics."""

import signal
import threading

from messaging.health import HealthServer
from operations.console import err, print_error, print_line
from operations.settings import Settings
from operations.verify import follow, output
from operations.verify.run import VerifySelection


def follow_until_signal(  # noqa: PLR0913
    settings: Settings,
    selection: VerifySelection,
    *,
    generation: int | None,
    max_load: float,
    deadline_s: float,
    json: bool,
) -> None:
    """Compare repeatedly and print each result on one line, until SIGTERM or SIGINT.

    `max_load` is the share of the time (0 to 1) that comparing may take. Raises HeadraceError for a selection that
    isn't of whole tables, and for a port that is in use.
    """
    follow.require_whole_tables(selection)
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    serving = HealthServer(
        settings.verify.http_port, alive=lambda: None, ready=lambda: None, host=settings.verify.http_host
    )
    err.print(f"metrics are served on port {serving.port}")
    try:
        follow.follow(
            settings,
            selection,
            generation=generation,
            max_load=max_load,
            deadline_s=deadline_s,
            stopping=stopping,
            on_result=lambda result: print_line(output.one_line(result, json=json)),
            on_trouble=print_error,
        )
    finally:
        serving.close()
