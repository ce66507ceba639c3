"""A gap that nothing will close: the archive goes on where a topic begins."""

from collections.abc import Mapping

from sinks.archive.log import Log
from sinks.archive.manifest import Kind, Manifest, Progress


def gaps(manifest: Manifest, ids: Mapping[str, str], starts: Mapping[tuple[str, int], int]) -> tuple[Progress, ...]:
    """From where the archive ends to where the topic begins, of each partition whose records are gone in between.
    `ids` are the topics' ids, `starts` the first offset that each (topic, partition) still holds."""
    return tuple(
        Progress(topic=topic, partition=number, topic_id=ids[topic], start=end, end=starts[topic, number])
        for (topic, number), end in sorted(manifest.archived(ids).items())
        if starts[topic, number] > end
    )


def skip(log: Log, skipped: tuple[Progress, ...]) -> None:
    """An entry moves the offsets behind the gaps. Raises Superseded, ManifestDamaged, ArchiveUnavailable."""
    log.commit(log.draft(Kind.SKIP, progress=skipped))
