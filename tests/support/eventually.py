"""The one way in which a test waits: for a condition, with a deadline that only a defect exceeds."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.05
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
    end = time.monotonic() + deadline_s
    while not (value := check()):
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline_s:.0f} s; last seen: {value!r}\n{explain()}")
        time.sleep(poll_s)
    return value
