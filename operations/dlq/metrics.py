"""How many dead letters are open, for Prometheus, for `headrace status`, and for alerts (deploy/prometheus)."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import structlog
from prometheus_client import Gauge

from operations.dlq.follower import Follower
from schemas.errors import HeadraceError

EVERY_S = 30.0
_LOG = structlog.get_logger("headrace")
OPEN = Gauge(
    "headrace_dead_letters_open",
    "Dead letters without a decision (neither redriven nor discarded).",
    ["topic", "error"],
)


def open_by_error(bootstrap: str) -> Counter[tuple[str, str]]:
    """By topic and error, how many are open. Raises HeadraceError where a topic is missing, Unavailable."""
    with closing(Follower(bootstrap)) as follower:
        follower.follow()
        return follower.letters.count()


class OpenDeadLetters:
    """Keeps `headrace_dead_letters_open` right; reads only what was added to the topics. For one thread."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._follower: Follower | None = None
        self._told: set[tuple[str, str]] = set()

    def refresh(self) -> None:
        """Looks again; from the beginning after anything but a HeadraceError. Raises as `open_by_error` does."""
        try:
            self._follower = self._follower or Follower(self._bootstrap)
            self._follower.follow()
            found = self._follower.letters.count()
        except HeadraceError:
            raise
        except Exception:
            self.close()  # of a full disk, SQLite may have kept a half
            raise
        for labels in self._told - found.keys():
            OPEN.remove(*labels)
        for labels, count in found.items():
            OPEN.labels(*labels).set(count)
        self._told = set(found)

    def close(self) -> None:
        """Forgets all letters."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()


@contextmanager
def telling(bootstrap: str) -> Iterator[None]:
    """Keeps the gauge right while the block runs, from a thread of its own. One process does so, `headrace run watch`:
    it reads the whole topic when it begins."""
    ended = threading.Event()

    def follow() -> None:
        with closing(OpenDeadLetters(bootstrap)) as known:
            while not ended.is_set():
                try:
                    known.refresh()
                except HeadraceError as error:  # the gauge stays as it was
                    _LOG.warning("open dead letters can't be counted", error=str(error))
                except Exception:  # a full temporary folder, for one: the thread goes on
                    _LOG.exception("open dead letters can't be counted")
                ended.wait(EVERY_S)

    thread = threading.Thread(target=follow, name="dead-letters", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
