"""Count open dead letters, for Prometheus, for `headrace status` and for the alerts in deploy/prometheus."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager

import structlog
from prometheus_client import Gauge

from operations.dlq.follower import LetterFollower
from schemas.errors import HeadraceError

EVERY_S = 30.0
_LOG = structlog.get_logger("headrace")
OPEN = Gauge(
    "headrace_dead_letters_open",
    "Dead letters without a decision (neither redriven nor discarded).",
    ["topic", "error"],
)


def count_open(bootstrap: str) -> Counter[tuple[str, str]]:
    """Return the number of open dead letters by (topic, error type).

    Raises:
        HeadraceError: a topic is missing.
        Unavailable: Kafka does not answer.
    """
    with closing(LetterFollower(bootstrap)) as follower:
        follower.follow()
        return follower.letters.count()


class OpenDeadLetters:
    """Keeps the gauge `headrace_dead_letters_open` current, reading only new records. Not thread-safe."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._follower: LetterFollower | None = None
        self._labelled: set[tuple[str, str]] = set()

    def refresh(self) -> None:
        """Update the gauge. After any error but a HeadraceError, the next call reads from the beginning.

        Raises as `count_open` does.
        """
        try:
            self._follower = self._follower or LetterFollower(self._bootstrap)
            self._follower.follow()
            found = self._follower.letters.count()
        except HeadraceError:
            raise
        except Exception:
            self.close()  # on a full disk SQLite may have stored a part of the rows
            raise
        for labels in self._labelled - found.keys():
            OPEN.remove(*labels)
        for labels, count in found.items():
            OPEN.labels(*labels).set(count)
        self._labelled = set(found)

    def close(self) -> None:
        """Delete the state."""
        follower, self._follower = self._follower, None
        if follower is not None:
            follower.close()


@contextmanager
def update_open_gauge(bootstrap: str) -> Iterator[None]:
    """Update the gauge from a thread while the block runs. Only `headrace run watch` does so.

    The thread reads the whole topic when it starts.
    """
    ended = threading.Event()

    def follow() -> None:
        with closing(OpenDeadLetters(bootstrap)) as known:
            while not ended.is_set():
                try:
                    known.refresh()
                except HeadraceError as error:  # the gauge keeps its value
                    _LOG.warning("open dead letters can't be counted", error=str(error))
                except Exception:  # for example a full temporary folder: the thread continues
                    _LOG.exception("open dead letters can't be counted")
                ended.wait(EVERY_S)

    thread = threading.Thread(target=follow, name="dead-letters", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
