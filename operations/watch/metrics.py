"""Metrics of `headrace run watch`."""

import math
import time

from prometheus_client import Counter, Gauge

from connectors.connect import ConnectorStatus

FRESHNESS = Gauge(
    "headrace_freshness_lag_seconds",
    "Seconds since the moment up to which the table in reporting is complete.",
    ["table"],
)
RETAINED = Gauge(
    "headrace_slot_retained_bytes",
    "Bytes of Postgres' log that the replication slot retains; NaN where no slot retains any.",
)
LIMIT = Gauge(
    "headrace_slot_limit_bytes",
    "Bytes of log that a slot may retain before it is lost (max_slot_wal_keep_size); +Inf: no limit.",
)
RESTARTED = Gauge(
    "headrace_source_restarted",
    "1 while capture is stopped because it lost its place in the source's history, else 0.",
)
RUNNING = Gauge(
    "headrace_connector_running",
    "1 while Connect reports the connector and all its tasks as RUNNING, else 0; 0 while Connect does not answer.",
    ["connector"],
)
STATE = Gauge(
    "headrace_connector_state",
    "1 for the state of the connector, and of each of its tasks, that Connect reports now.",
    ["connector", "part", "state"],
)
RESTARTS = Counter(
    "headrace_connector_restarts", "Restarts of a failed connector by `headrace run watch`.", ["connector"]
)


def complete(table: str, through: float) -> None:
    """Export that a table is complete up to `through` (s since 1970). The lag is computed when it is scraped."""
    FRESHNESS.labels(table).set_function(lambda: time.time() - through)


def slot(retained: int | None, limit: int) -> None:
    """Export the bytes of log that the slot retains (None: no slot) and may retain (-1: no limit)."""
    RETAINED.set(math.nan if retained is None else retained)
    LIMIT.set(math.inf if limit < 0 else limit)


def connector(name: str, status: ConnectorStatus | None) -> None:
    """Export the state of a connector and of its tasks. None means that it is not known."""
    RUNNING.labels(name).set(status is not None and status.running)
    STATE.remove_by_labels({"connector": name})
    if status is not None:
        STATE.labels(name, "connector", status.state).set(1)
        for number, state in enumerate(status.tasks):
            STATE.labels(name, f"task {number}", state).set(1)
