"""How many dead letters are open, for Prometheus, for `headrace status`, and for who alerts (deploy/prometheus)."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from prometheus_client import Gauge

from kafka import clients
from kafka.dead_letters import stored
from operations.dlq.decisions import Journal
from operations.dlq.letters import letters
from schemas.errors import HeadraceError
from schemas.topics import DEAD_LETTERS, DECISIONS

EVERY_S = 30.0
_LOG = structlog.get_logger("headrace")
OPEN = Gauge("headrace_dead_letters_open", "Dead letters on which nothing was decided.", ["topic", "error"])


def open_by_error(bootstrap: str) -> Counter[tuple[str, str]]:
    """By topic and error, how many are open. Raises HeadraceError where a topic is missing, Unavailable."""
    found = letters(stored(bootstrap), Journal(bootstrap).read())
    return Counter((letter.record.topic, letter.error) for letter in found if letter.open)


class OpenDeadLetters:
    """Keeps `headrace_dead_letters_open` right; reads the topics only when they have grown."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._ends: dict[tuple[str, int], int] = {}
        self._told: set[tuple[str, str]] = set()

    def refresh(self) -> None:
        """Looks again. Raises as `open_by_error` does."""
        ends = clients.end_offsets(self._bootstrap, [DEAD_LETTERS, DECISIONS])
        if ends == self._ends:
            return
        found = open_by_error(self._bootstrap)
        for labels in self._told - found.keys():
            OPEN.remove(*labels)
        for labels, count in found.items():
            OPEN.labels(*labels).set(count)
        self._ends, self._told = ends, set(found)


@contextmanager
def telling(bootstrap: str) -> Iterator[None]:
    """Keeps the gauge right while the block runs, from a thread of its own: a worker has other things to do."""
    ended = threading.Event()
    known = OpenDeadLetters(bootstrap)

    def follow() -> None:
        while True:
            try:
                known.refresh()
            except HeadraceError as error:  # the gauge stays as it was
                _LOG.warning("open dead letters can't be counted", error=str(error))
            if ended.wait(EVERY_S):
                return

    thread = threading.Thread(target=follow, name="dead-letters", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
