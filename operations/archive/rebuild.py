"""`headrace archive rebuild`: the manifest from the files alone."""

from rich.console import Console

from operations import connections
from operations.settings import Settings
from sinks.archive.batch import spooling
from sinks.archive.erasure import forget_erased
from sinks.archive.rebuild import ASIDE, Rebuilt
from sinks.archive.rebuild import rebuild as make


def rebuild(settings: Settings, out: Console) -> bool:
    """Make it anew; returns whether every file was whole. Raises HeadraceError, Unavailable; run again, it finishes."""
    log = connections.archive(settings, "rebuild")
    rebuilt = make(log.store, log.by)
    for line in lines(rebuilt):
        out.print(line, markup=False, soft_wrap=True)
    with spooling(log.store, settings.archive.spool) as spool:
        erased = forget_erased(log, spool, settings.archive.codec)
    if erased:
        out.print(f"erased again: {erased:,} rows of files that an erasure had left", soft_wrap=True)
    return not rebuilt.damaged


def lines(rebuilt: Rebuilt) -> list[str]:
    """What is said about a rebuild."""
    rows = sum(file.rows for file in rebuilt.files)
    said = [f"took {len(rebuilt.files):,} files with {rows:,} rows, and {rebuilt.erasures:,} erasures"]
    said += [f"archived up to {end:,}: {at}" for at, (_, end) in sorted(rebuilt.offsets.items())]
    if rebuilt.replaced:
        said.append(f"left out {len(rebuilt.replaced):,} files that others have replaced")
    said += [f"incomplete: commit {each}; the worker archives what came with it again" for each in rebuilt.incomplete]
    said += [f"damaged, left out: {name}. See docs/runbook.md#file-damaged" for name in rebuilt.damaged]
    said.append(f"the old manifest is in {ASIDE}/")
    return said
