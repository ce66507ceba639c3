"""What the enrichment worker tells about itself."""

from prometheus_client import Counter, Gauge

LINES = Counter("headrace_enriched_lines", "Lines emitted and confirmed, by status (delete: passed on).", ["status"])
LAG = Gauge("headrace_enrich_lag_records", "Captured records not yet taken.", ["partition"])
HELD = Gauge("headrace_enrich_held", "Undecided lines whose ack waits for the catalog.", ["partition"])
PENDING = Gauge("headrace_enrich_pending", "Undecided lines, held or written to the pending topic.", ["partition"])
CATALOG_ENTRIES = Gauge("headrace_catalog_entries", "Entries of price_history in memory.")
WATERMARK = Gauge("headrace_catalog_watermark_seconds", "Up to when the catalog is known, as Unix time; 0: not at all.")
CLOCK_DOUBTS = Counter(
    "headrace_catalog_clock_doubts",
    "Heartbeats believed in part, by the primary's clock: ahead of this worker's, behind the cluster time.",
    ["clock"],
)
LATE_ENTRIES = Counter(
    "headrace_catalog_late_entries", "Entries that arrived when lines they are valid for may have been decided."
)
HEARTBEAT_FAILURES = Counter("headrace_catalog_heartbeat_failures", "Heartbeats that MongoDB did not take.")
