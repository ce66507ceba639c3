"""When a failed connector is restarted: each time later, not for ever, and not where that can't help. No Connect:
at most a server that answers as a proxy before it may."""

import itertools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from prometheus_client import REGISTRY

from connectors.connect import Connect, ConnectorStatus
from operations.watch.connectors import FIRST_S, LONGEST_S, MOST, STEADY_S, Connectors, Restarts, follow, is_hopeless

FAILED = ConnectorStatus(
    state="RUNNING", tasks=("FAILED",), failure="PSQLException: FATAL: password authentication failed"
)
RUNNING = ConnectorStatus(state="RUNNING", tasks=("RUNNING",))
RESTARTING = ConnectorStatus(state="RUNNING", tasks=("RESTARTING",))
STOPPED, PAUSED = ConnectorStatus(state="STOPPED", tasks=()), ConnectorStatus(state="PAUSED", tasks=())


def restarted_at(status: ConnectorStatus, *, until: float, step: float = 1.0) -> list[float]:
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
    assert restarted_at(ConnectorStatus(state="RUNNING", tasks=("FAILED",), failure=failure), until=7200) == []


def test_a_failure_without_a_reason_is_worth_a_restart():
    assert not is_hopeless(None)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The URL of a server that gives this answer to every GET, and 403 to every POST."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.send_error(403)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def metric(name: str, connector: str) -> float | None:
    return REGISTRY.get_sample_value(name, {"connector": connector})


@pytest.mark.parametrize(
    ("status", "body"), [(401, b""), (403, b"no"), (200, b"<html>log in</html>"), (200, b"[]"), (200, b'{"login": 1}')]
)
def test_an_answer_that_is_none_of_connects_makes_the_states_unknown_and_ends_nothing(status, body):
    with answering(status, body) as url:
        Connectors(Connect(url), ["asked"]).check()
    assert metric("headrace_connector_running", "asked") == 0


def test_a_restart_that_connect_refused_is_not_counted_and_ends_nothing():
    with answering(200, b'{"connector": {"state": "RUNNING"}, "tasks": [{"state": "FAILED"}]}') as url:
        connectors = Connectors(Connect(url), ["refused"])
        connectors.check()
        for now in range(0, 40, 10):
            connectors.restart_failed(float(now))
    assert not metric("headrace_connector_restarts_total", "refused")
    assert connectors._restarts["refused"].done == 0
