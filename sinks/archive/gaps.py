"""Find offsets that the topics lost before they were archived, and move the archive past them."""

from collections.abc import Mapping

from sinks.archive.log import Log
from sinks.archive.manifest import Kind, Manifest, Progress


def find_gaps(
    manifest: Manifest, ids: Mapping[str, str], starts: Mapping[tuple[str, int], int]
) -> tuple[Progress, ...]:
    """Return the lost offsets of each partition: from the archive's end to the topic's first offset.

    `ids` are the topics' ids, `starts` the first offset that each (topic, partition) still holds.
    """
    return tuple(
        Progress(topic=topic, partition=number, topic_id=ids[topic], start=end, end=starts[topic, number])
        for (topic, number), end in sorted(manifest.archived(ids).items())
        if starts[topic, number] > end
    )


def skip_gaps(log: Log, skipped: tuple[Progress, ...]) -> None:
    """Append an entry that moves the archive past `skipped`. Raises Superseded, ManifestDamaged, ArchiveUnavailable."""
    log.commit(log.draft(Kind.SKIP, progress=skipped))
