"""When a failed connector is restarted: each time later, not for ever, and not where that can't help. No Connect."""

import itertools

import pytest

from connectors.connect import Status
from operations.watch.connectors import FIRST_S, LONGEST_S, MOST, STEADY_S, Restarts, follow, is_hopeless

FAILED = Status(state="RUNNING", tasks=("FAILED",), failure="PSQLException: FATAL: password authentication failed")
RUNNING = Status(state="RUNNING", tasks=("RUNNING",))
RESTARTING = Status(state="RUNNING", tasks=("RESTARTING",))
STOPPED, PAUSED = Status(state="STOPPED", tasks=()), Status(state="PAUSED", tasks=())


def restarted_at(status: Status, *, until: float, step: float = 1.0) -> list[float]:
    """The moments of all restarts of a connector that fails again each time."""
    found, restarts, now = [], Restarts(), 0.0
    while now < until:
        restarts, due = follow(restarts, status, now)
        if due:
            found.append(now)
            restarts, _ = follow(restarts, RESTARTING, now)
        now += step
    return found


def test_restarts_come_later_each_time_and_end():
    found = restarted_at(FAILED, until=7200)
    waits = [after - before for before, after in itertools.pairwise([0.0, *found])]
    assert len(found) == MOST
    assert waits[0] == FIRST_S
    assert all(before <= after + 1 for before, after in itertools.pairwise(waits))
    assert max(waits) <= LONGEST_S + 1


@pytest.mark.parametrize("status", [RUNNING, RESTARTING, STOPPED, PAUSED])
def test_what_has_not_failed_is_left_alone(status):
    assert restarted_at(status, until=7200) == []


def test_a_connector_that_ran_steadily_has_all_its_restarts_again_and_one_that_did_not_has_none():
    tired = Restarts(done=MOST)
    running, _ = follow(tired, RUNNING, 0.0)
    assert follow(running, RUNNING, STEADY_S - 1)[0].done == MOST
    assert follow(running, RUNNING, STEADY_S)[0].done == 0
    failed, _ = follow(running, FAILED, STEADY_S - 1)
    again, _ = follow(failed, RUNNING, STEADY_S)
    assert again.done == MOST, "time before the failure was counted as steady"


@pytest.mark.parametrize(
    "failure",
    [
        "ConnectException: Unrecoverable exception from producer send callback; cause: "
        "org.apache.kafka.common.errors.RecordTooLargeException: The message is 3146104 bytes",
        "DebeziumException: The connector is trying to read change stream starting at …, but this is no longer "
        "available on the server. Reconfigure the connector to use a snapshot mode when needed.",
        "ConnectException: Publication autocreation is disabled, please create one and restart the connector.",
    ],
)
def test_what_a_restart_cannot_mend_is_not_restarted(failure):
    assert is_hopeless(failure)
    assert restarted_at(Status(state="RUNNING", tasks=("FAILED",), failure=failure), until=7200) == []


def test_a_failure_without_a_reason_is_worth_a_restart():
    assert not is_hopeless(None)
