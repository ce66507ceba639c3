"""Prometheus metrics of the archive worker."""

from prometheus_client import Counter, Gauge, Histogram

LAG_RECORDS = Gauge(
    "headrace_archive_lag_records", "Records in the partition that are not in the archive.", ["topic", "partition"]
)
EVENTS = Counter("headrace_archive_events", "Events archived. A repeat within a batch is not counted.")
FILES = Counter("headrace_archive_files", "Files added to the archive.")
BYTES = Counter("headrace_archive_bytes", "Bytes added to the archive, compressed.")
PUBLISH_SECONDS = Histogram(
    "headrace_archive_publish_seconds",
    "Seconds to publish a batch: its files and its manifest entry.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RESTING = Gauge("headrace_archive_resting", "1 while the archive can't be written and the worker waits, else 0.")
