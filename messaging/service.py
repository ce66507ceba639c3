"""The loop of a worker process: serve health and metrics, run turns, and end after a signal. All workers share it.

A worker that has an event loop of its own (streams/worker.py) uses only `serving` and `stop_on_signals`.
"""

import contextlib
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import structlog

from messaging.health import Check, HealthServer

STALLED_S = 300.0  # without a finished turn until a worker no longer counts as alive


class Service(ABC):
    """A worker that works in turns. `name` is that of its logger.

    A subclass defines `turn`, `check_ready` and `close`. It sets `pause` to the seconds to wait before the next turn, 0
    by default; `stop` ends the wait.
    """

    def __init__(self, name: str) -> None:
        self._log = structlog.get_logger(name)
        self._stopping = threading.Event()
        self._last_turn_at = time.monotonic()
        self.pause = 0.0

    @abstractmethod
    def turn(self) -> object:
        """Do one unit of work, such as a batch. It raises the errors that end the worker."""

    @abstractmethod
    def check_ready(self) -> str | None:
        """Return None while the worker does its work, otherwise what is missing."""

    @abstractmethod
    def close(self) -> None:
        """Release connections and partitions."""

    def run_turn(self) -> None:
        """Run one turn of the loop. A subclass that survives errors of its turn handles them here."""
        self.turn()

    def finish(self) -> None:  # noqa: B027  # optional
        """Finish open work after `stop`, before `close`. It is not called after an error."""

    def run(self, http_port: int | None = None, http_host: str = "127.0.0.1") -> None:
        """Run turns until `stop` is called, then finish and close; close after an error, too.

        Health and metrics are served meanwhile on `http_port`: 0 means any free port, None none.

        Raises:
            HeadraceError: The port is in use, or a turn ended the worker.
        """
        with contextlib.ExitStack() as closing:
            closing.callback(self.close)
            if http_port is not None:
                port = closing.enter_context(serving(self.alive, self.ready, http_port, http_host))
                self._log.info("serving", port=port)
            while not self._stopping.is_set():
                self.run_turn()
                self._last_turn_at = time.monotonic()
                self._stopping.wait(self.pause)
            self.finish()

    def stop(self) -> None:
        """End `run` after the present turn. Safe in a signal handler."""
        self._stopping.set()

    def alive(self) -> str | None:
        """Return None while turns end, successfully or not, otherwise what is wrong."""
        idle = time.monotonic() - self._last_turn_at
        return None if idle < STALLED_S else f"no turn has been finished for {idle:.0f} s"

    def ready(self) -> str | None:
        """Return None while the worker does its work, otherwise what is missing."""
        return self.alive() or self.check_ready()


@contextlib.contextmanager
def serving(alive: Check, ready: Check, http_port: int, http_host: str = "127.0.0.1") -> Iterator[int]:
    """Serve health and metrics during the block, and yield the port: `http_port`, or a free one where that is 0.

    Raises:
        HeadraceError: The port is in use.
    """
    server = HealthServer(http_port, alive=alive, ready=ready, host=http_host)
    try:
        yield server.port
    finally:
        server.close()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call `stop` at SIGTERM and SIGINT. Only in the main thread of a process."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())
