"""Retention on a whole pipeline, killed at every step; test_retention.py kills it after each kind of effect."""

import pytest

from schemas.failpoints import FailPoint
from tests.support.aged import Aged
from tests.support.retiring import killed_and_completed

# In the order in which retention comes to them; each run goes on where the one before was killed.
KILLS = (
    (FailPoint.PROVEN, 1),
    (FailPoint.EVENTS_RETIRED, 1),
    (FailPoint.EVENTS_RETIRED, 1),
    (FailPoint.CUTOFF_SET, 1),
    (FailPoint.REPORT_EVENTS_RETIRED, 1),
    (FailPoint.ENTRY_PUBLISHED, 1),
    (FailPoint.FILE_WRITTEN, 2),
    (FailPoint.FILE_SYNCED, 2),
    (FailPoint.FILE_NAMED, 2),
    (FailPoint.ROWS_ARCHIVED, 1),
    (FailPoint.CUTOFF_SET, 2),
    (FailPoint.ROWS_RETIRED, 1),
    (FailPoint.REPORT_ROWS_RETIRED, 1),
    (FailPoint.TOMBSTONED, 1),
    (FailPoint.RETIREMENT_NOTED, 1),
    (FailPoint.ROWS_RETIRED, 1),
    (FailPoint.SESSIONS_RETIRED, 1),
)


@pytest.mark.long
def test_killed_anywhere_nothing_is_in_neither_store_and_all_that_is_old_goes(aged: Aged):
    killed_and_completed(aged, KILLS)
