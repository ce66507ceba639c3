"""What an archive worker tells Prometheus."""

from prometheus_client import Counter, Gauge, Histogram

LAG_RECORDS = Gauge(
    "headrace_archive_lag_records", "Records in the partition that are not in the archive.", ["topic", "partition"]
)
EVENTS = Counter("headrace_archive_events", "Events put into the archive; a repeat within a batch is not counted.")
FILES = Counter("headrace_archive_files", "Files put into the archive.")
BYTES = Counter("headrace_archive_bytes", "Bytes put into the archive, compressed.")
PUBLISH_SECONDS = Histogram(
    "headrace_archive_publish_seconds",
    "Time to publish a batch: its files and its manifest entry.",
    buckets=(0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
RESTING = Gauge("headrace_archive_resting", "1 while the worker waits for an archive that can't be written.")
