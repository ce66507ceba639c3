"""The one way in which a test waits: for a condition, with a deadline that only a defect exceeds."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.05
LONGEST_PAUSE_S = 2.0
DEADLINE_S = 240.0  # a machine on which other tests run beside is several times slower than an idle one


def eventually(
    check: Callable[[], T],
    deadline_s: float = DEADLINE_S,
    explain: Callable[[], str] = lambda: "",
    poll_s: float = POLL_S,
) -> T:
    """Return the value of `check` as soon as it is true. A check that starts a process asks for a longer `poll_s`.

    Raises:
        AssertionError: it was not true within `deadline_s` seconds; with the last value and the text of `explain`."""
    began = time.monotonic()
    end = began + deadline_s
    while not (value := check()):
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"not within {deadline_s:.0f} s; last seen: {value!r}\n{explain()}")
        time.sleep(pause_after(now - began, poll_s))
        began = time.monotonic()
    return value


def pause_after(took_s: float, poll_s: float) -> float:
    """Return how long to pause after a check: an expensive one would take the processor from what it waits for."""
    return max(poll_s, min(2 * took_s, LONGEST_PAUSE_S))
