"""Connect's answers to one clear line, without Connect."""

import httpx
import pytest

from connectors.connect import Connect, ConnectorStatus, _clean, _is_rebalance, _reason
from schemas.errors import Unavailable

TRACE = """org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler
\tat org.apache.kafka.connect.runtime.Worker.run(Worker.java:1)
Caused by: java.lang.RuntimeException: middle
\t... 5 more
Caused by: org.postgresql.util.PSQLException: FATAL: password authentication failed
\t... 6 more"""


def test_a_trace_is_its_first_line_and_its_root_cause():
    assert _reason(TRACE) == (
        "org.apache.kafka.connect.errors.ConnectException: Tolerance exceeded in error handler; "
        "cause: org.postgresql.util.PSQLException: FATAL: password authentication failed"
    )


def test_a_cause_that_the_first_line_already_says_is_not_said_twice():
    assert _reason("A: B: no\n\tat x\nCaused by: B: no") == "A: B: no"


def test_no_password_of_a_uri_is_repeated():
    assert _clean("can't reach mongodb://me:secret@host/db\nnow") == "can't reach mongodb://…@host/db now"


@pytest.mark.parametrize(
    ("state", "tasks", "running"),
    [
        ("RUNNING", ("RUNNING",), True),
        ("RUNNING", (), False),
        ("RUNNING", ("FAILED",), False),
        ("RUNNING", ("RUNNING", "RESTARTING"), False),
        ("PAUSED", ("RUNNING",), False),
    ],
)
def test_a_connector_runs_when_it_and_all_its_tasks_do(state, tasks, running):
    assert ConnectorStatus(state=state, tasks=tasks).running is running


@pytest.mark.parametrize(
    ("state", "tasks", "overall"),
    [
        ("RUNNING", ("RUNNING",), "RUNNING"),
        ("RUNNING", ("FAILED",), "FAILED"),
        ("RUNNING", ("RUNNING", "FAILED"), "FAILED"),
        ("FAILED", (), "FAILED"),
        ("RUNNING", ("RESTARTING",), "RESTARTING"),
        ("STOPPED", (), "STOPPED"),
        ("RUNNING", (), "UNASSIGNED"),
    ],
)
def test_a_failed_task_makes_its_connector_failed(state, tasks, overall):
    assert ConnectorStatus(state=state, tasks=tasks).overall == overall


def test_connect_down_is_one_line_that_names_its_address():
    with pytest.raises(Unavailable, match=r"^Kafka Connect at http://127\.0\.0\.1:9 does not answer .*#connect-down$"):
        Connect("http://127.0.0.1:9/").seen("any")


@pytest.mark.parametrize(
    ("status", "message", "rebalance"),
    [
        (409, "Cannot complete request momentarily due to stale configuration", True),
        (500, "Request cannot be completed because a rebalance is expected", True),
        (500, "java.lang.NullPointerException", False),
        (200, "a rebalance of the books", False),
    ],
)
def test_a_rebalance_is_waited_out_whether_connect_calls_it_a_conflict_or_a_fault(status, message, rebalance):
    assert _is_rebalance(httpx.Response(status, json={"message": message})) is rebalance


def test_a_long_reason_keeps_its_beginning_and_its_end():
    said = _reason(f"DebeziumException: starting at [{'x' * 1000}], but this is no longer available")
    assert said.startswith("DebeziumException: starting at [x") and said.endswith("but this is no longer available")
    assert len(said) < 450
