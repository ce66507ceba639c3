"""Metrics of the enrichment worker."""

from prometheus_client import Counter, Gauge

LINES = Counter(
    "headrace_enriched_lines", "Order lines emitted and confirmed, by status (delete: passed on).", ["status"]
)
LAG = Gauge("headrace_enrich_lag_records", "Captured order lines that the worker has not read yet.", ["partition"])
HELD = Gauge("headrace_enrich_held", "Undecided order lines whose ack waits for the catalog.", ["partition"])
PENDING = Gauge("headrace_enrich_pending", "Undecided order lines, in memory or in the pending topic.", ["partition"])
CATALOG_ENTRIES = Gauge("headrace_catalog_entries", "Entries of price_history in memory.")
WATERMARK = Gauge(
    "headrace_catalog_watermark_seconds", "Unix time up to which the catalog is known; 0 before it is known."
)
CLOCK_DOUBTS = Counter(
    "headrace_catalog_clock_doubts",
    "Heartbeats used in part: the primary's clock is ahead of the worker's, or behind the cluster time.",
    ["clock"],
)
LATE_ENTRIES = Counter(
    "headrace_catalog_late_entries", "Entries that arrived after lines they are valid for may have been decided."
)
HEARTBEAT_FAILURES = Counter("headrace_catalog_heartbeat_failures", "Heartbeats that MongoDB did not accept.")
