"""Limit how far a heartbeat of the catalog is trusted: there are three clocks, and each may be wrong. Pure.

at      the wall clock of MongoDB's primary, by which entries are stamped as well
logged  the cluster time, which never goes back, not even where another member becomes the primary
now     this worker's own clock

Entries that follow are stamped with a time at or above the lowest of the three, give or take the catalog's slack.
"""

from datetime import datetime
from enum import StrEnum

from schemas.decoders.mongo import Heartbeat
from streams.catalog import SLACK


class Clock(StrEnum):
    """A disagreement of the primary's clock: AHEAD of this worker's, or BEHIND the cluster time."""

    AHEAD = "ahead"
    BEHIND = "behind"


def trusted_time(beat: Heartbeat, now: datetime) -> datetime:
    """Return the time up to which the catalog has been read, according to `beat`, read at `now`."""
    return min(beat.at, beat.logged, now)


def clock_problem(beat: Heartbeat, now: datetime) -> Clock | None:
    """Return a disagreement of the clocks by more than the slack, or None.

    A heartbeat earlier than `now` is no disagreement: capture may lag. Nor is one whose `at` is ahead of `logged`: the
    document was looked up late.
    """
    if min(beat.at, beat.logged) - now > SLACK:
        return Clock.AHEAD
    if beat.logged - beat.at > SLACK:
        return Clock.BEHIND
    return None
