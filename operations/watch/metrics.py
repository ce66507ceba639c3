"""What `headrace run watch` tells Prometheus."""

import time

from prometheus_client import Gauge

FRESHNESS = Gauge(
    "headrace_freshness_lag_seconds",
    "Age of the moment of the source up to which the table is complete in reporting.",
    ["table"],
)
RETAINED = Gauge("headrace_slot_retained_bytes", "Postgres' log that the replication slot keeps from being removed.")
RESTARTED = Gauge("headrace_source_restarted", "1 when the source's history restarted and capture was stopped, else 0.")


def complete(table: str, through: float) -> None:
    """A table is complete up to `through` (s since 1970); its lag is that of the moment of scraping."""
    FRESHNESS.labels(table).set_function(lambda: time.time() - through)
