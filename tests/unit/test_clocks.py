"""A heartbeat is trusted as far as the lowest clock."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.decoders.mongo import Heartbeat
from streams.clocks import Clock, clock_problem, trusted_time

NOW = datetime(2026, 1, 1, tzinfo=UTC)
S = timedelta(seconds=1)


def beat(at, logged):
    return Heartbeat(NOW + at * S, NOW + logged * S)


@pytest.mark.parametrize(
    ("at", "logged", "known", "clock"),
    [
        (-0.05, -1, -1, None),
        (0.4, 0, 0, None),  # ahead of this worker's clock by less than the slack
        (-60, -61, -61, None),  # capture is a minute behind
        (0, -60, -60, None),  # the same, and the document was looked up late
        (3600, 3600, 0, Clock.AHEAD),
        (-1.5, 0, -1.5, Clock.BEHIND),  # a new primary, whose clock is behind what the one before had logged
        (0, 3600, 0, Clock.BEHIND),  # the clock has been put right; the cluster time never goes back
    ],
)
def test_a_heartbeat_is_believed_as_far_as_each_clock_goes(at, logged, known, clock):
    assert trusted_time(beat(at, logged), NOW) == NOW + known * S
    assert clock_problem(beat(at, logged), NOW) is clock
