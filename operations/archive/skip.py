"""Run `headrace archive skip`: continue archiving after offsets that the topics no longer hold."""

from collections.abc import Callable, Iterable

from rich.console import Console

from messaging import clients
from operations import connections
from operations.archive.backfill import EVENT_TABLES
from operations.settings import Settings
from schemas.tables import Table
from sinks.archive import gaps


def skip_gaps(
    settings: Settings, out: Console, confirm: Callable[[str], object], tables: Iterable[Table] = EVENT_TABLES
) -> None:
    """Move the archive to the first offset of each topic that begins after it.

    `confirm` is called with a question first; it raises to stop the command. Raises HeadraceError, Unavailable.
    """
    log, bootstrap = connections.archive(settings, "skip"), settings.kafka.bootstrap
    names = [topic for table in tables for topic in table.captured_topics]
    found = gaps.find_gaps(log.manifest(), clients.topic_ids(bootstrap, names), clients.start_offsets(bootstrap, names))
    if not found:
        out.print("no topic begins after the archive's end; nothing to skip")
        return
    for gap in found:
        out.print(f"{gap.topic}/{gap.partition}: offsets {gap.start} to {gap.end - 1} are not in the archive")
    confirm("Skip these offsets?")
    gaps.skip_gaps(log, found)
    out.print(
        "skipped; `headrace archive backfill --day ...` archives the events that Postgres still has", soft_wrap=True
    )
