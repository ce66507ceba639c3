"""`headrace archive compact`: small files become one, and what no reader needs any more is deleted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schemas.tables import TABLES
from sinks.archive.batch import spooling
from sinks.archive.compaction import Merged, merge, sweep
from sinks.archive.files import Codec
from sinks.archive.log import Log


def compact(  # noqa: PLR0913  # the command's options
    log: Log, say: Callable[[str], None], *, spool: Path | None, codec: Codec, target: int, grace: timedelta
) -> bool:
    """Merges files below `target` bytes, deletes files that were removed more than `grace` ago, and says both; False
    where a file was found damaged, which stays as it is. Raises ArchiveUnavailable, ManifestDamaged."""
    whole, merged, deleted, size = True, 0, 0, 0
    with spooling(log.store, spool) as folder:
        for each in merge(log, folder, TABLES, target=target, codec=codec):
            say(_merged(each))
            whole, merged = whole and not each.damaged, merged + (0 if each.refusal else each.files)
    for gone in sweep(log, TABLES, now=datetime.now(UTC), grace=grace):
        deleted, size = deleted + 1, size + gone.size
        say(f"deleted {gone.name}, {gone.size:,} bytes, {'left by a crash' if gone.orphan else 'removed earlier'}")
    say(f"{merged:,} files merged; {deleted:,} files deleted, {size:,} bytes")
    return whole


def _merged(each: Merged) -> str:
    if each.refusal:
        return f"left    {each.folder}: {each.refusal}"
    rows, size = sum(file.rows for file in each.added), sum(file.size for file in each.added)
    dropped = f", {each.dropped:,} repeated or erased rows dropped" if each.dropped else ""
    return f"merged  {each.folder}: {each.files:,} files into {len(each.added)}, {rows:,} rows, {size:,} bytes{dropped}"
