"""Run `headrace archive rebuild`: rebuild the manifest from the files alone."""

from rich.console import Console

from operations import connections
from operations.settings import Settings
from sinks.archive import rebuild
from sinks.archive.batch import spooling
from sinks.archive.erasure import reapply_erasures
from sinks.archive.rebuild import ASIDE, RebuildResult


def rebuild_manifest(settings: Settings, out: Console) -> bool:
    """Rebuild the manifest, and return whether every file was intact. After an error, run it again to finish.

    Raises:
        HeadraceError: the archive is damaged in a way that a rebuild can't repair.
        Unavailable: the archive can't be read or written.
    """
    log = connections.archive(settings, "rebuild")
    rebuilt = rebuild.rebuild_manifest(log.store, log.by)
    for line in result_lines(rebuilt):
        out.print(line, markup=False, soft_wrap=True)
    with spooling(log.store, settings.archive.spool) as spool:
        erased = reapply_erasures(log, spool, settings.archive.codec)
    if erased:
        out.print(f"erased again: {erased:,} rows of files that an erasure had already removed", soft_wrap=True)
    return not rebuilt.damaged


def result_lines(rebuilt: RebuildResult) -> list[str]:
    """Return the lines to print about a rebuild."""
    rows = sum(file.rows for file in rebuilt.files)
    lines = [f"took {len(rebuilt.files):,} files with {rows:,} rows, and {rebuilt.erasures:,} erasures"]
    lines += [f"archived up to {end:,}: {at}" for at, (_, end) in sorted(rebuilt.offsets.items())]
    if rebuilt.replaced:
        lines.append(f"left out {len(rebuilt.replaced):,} files that other files have replaced")
    lines += [f"incomplete: commit {each}; the worker archives what came with it again" for each in rebuilt.incomplete]
    lines += [f"damaged, left out: {name}. See docs/runbook.md#file-damaged" for name in rebuilt.damaged]
    lines.append(f"the old manifest is in {ASIDE}/")
    return lines
