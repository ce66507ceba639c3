"""Run `headrace verify --follow` until a signal stops it, and serve its metrics."""

import threading

from messaging.service import serving, stop_on_signals
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
    stop_on_signals(stopping.set)
    with serving(lambda: None, lambda: None, settings.verify.http_port, settings.verify.http_host) as port:
        err.print(f"metrics are served on port {port}")
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
