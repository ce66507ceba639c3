"""The one way in which a test waits: for a condition, with a deadline, telling what it last saw."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.05


def eventually(check: Callable[[], T], deadline_s: float = 60.0, explain: Callable[[], str] = lambda: "") -> T:
    """What `check` returns as soon as that is true; fails with the last value seen and what `explain` says."""
    end = time.monotonic() + deadline_s
    while not (value := check()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:.0f} s; last seen: {value!r}\n{explain()}")
        time.sleep(POLL_S)
    return value
