"""A thread whose failure reaches the thread that waits for it."""

import threading
from collections.abc import Callable


class Background(threading.Thread):
    """Run `work` on a daemon thread. A failure is printed at once, and raised by `finish`."""

    def __init__(self, work: Callable[[], None], name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._work = work
        self._failure: BaseException | None = None

    def run(self) -> None:
        try:
            self._work()
        except BaseException as error:
            self._failure = error
            raise

    def finish(self) -> None:
        """Wait until the work has ended. Raises the exception that ended it."""
        self.join()
        if self._failure is not None:
            raise self._failure
