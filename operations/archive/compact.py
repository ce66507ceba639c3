"""Run `headrace archive compact`: merge small files, and delete files that no reader needs."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from schemas.tables import TABLES
from sinks.archive.batch import spooling
from sinks.archive.compaction import Merged, delete_unreferenced, merge_small_files
from sinks.archive.files import Codec
from sinks.archive.log import Log


def compact(  # noqa: PLR0913  # the command's options
    log: Log, print_line: Callable[[str], None], *, spool: Path | None, codec: Codec, target: int, grace: timedelta
) -> bool:
    """Merge files smaller than `target` bytes, and delete files that were removed more than `grace` ago.

    `print_line` is called with a line for each merge and deletion.

    Returns:
        False where a damaged file was found. It stays as it is.

    Raises:
        ArchiveUnavailable: the archive can't be read or written.
        ManifestDamaged: the manifest can't be read.
    """
    intact, merged, deleted, size = True, 0, 0, 0
    with spooling(log.store, spool) as folder:
        for each in merge_small_files(log, folder, TABLES, target=target, codec=codec):
            print_line(_merge_line(each))
            intact, merged = intact and not each.damaged, merged + (0 if each.refusal else each.files)
    for gone in delete_unreferenced(log, TABLES, now=datetime.now(UTC), grace=grace):
        deleted, size = deleted + 1, size + gone.size
        print_line(
            f"deleted {gone.name}, {gone.size:,} bytes, {'left by a crash' if gone.orphan else 'removed earlier'}"
        )
    print_line(f"{merged:,} files merged; {deleted:,} files deleted, {size:,} bytes")
    return intact


def _merge_line(each: Merged) -> str:
    if each.refusal:
        return f"left    {each.folder}: {each.refusal}"
    rows, size = sum(file.rows for file in each.added), sum(file.size for file in each.added)
    dropped = f", {each.dropped:,} repeated or erased rows dropped" if each.dropped else ""
    return f"merged  {each.folder}: {each.files:,} files into {len(each.added)}, {rows:,} rows, {size:,} bytes{dropped}"
