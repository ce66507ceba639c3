"""Run `headrace archive ls`: list the archive's folders with their totals, from the manifest."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

import orjson
from rich.console import Console
from rich.table import Table as Grid

from sinks.archive.layout import ArchiveFolder
from sinks.archive.manifest import ArchivedFile, Manifest
from sinks.archive.reader import ArchiveSelection


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderSummary:
    """The totals of some files. `rows` counts a repeated record once for each file; `size` is in bytes.

    `first` and `last` are the earliest and latest instant; None without files.
    """

    files: int
    rows: int
    size: int
    first: datetime | None
    last: datetime | None


def summarize(files: Iterable[ArchivedFile]) -> FolderSummary:
    """Return the totals of some files."""
    all_ = list(files)
    return FolderSummary(
        files=len(all_),
        rows=sum(file.rows for file in all_),
        size=sum(file.size for file in all_),
        first=min((file.first for file in all_), default=None),
        last=max((file.last for file in all_), default=None),
    )


def selected_folders(
    manifest: Manifest, tables: Iterable[str], selection: ArchiveSelection
) -> dict[ArchiveFolder, list[ArchivedFile]]:
    """Return the files of the folders that may hold selected records."""
    return {
        folder: files
        for table in tables
        for folder, files in manifest.folders(table).items()
        if selection.reaches(folder)
    }


def print_listing(
    manifest: Manifest, tables: Iterable[str], selection: ArchiveSelection, out: Console, *, json: bool
) -> None:
    """Print the folders and their total."""
    found = selected_folders(manifest, tables, selection)
    total = summarize(file for files in found.values() for file in files)
    if json:
        each = [
            {"table": at.table, "day": at.day, "bucket": at.bucket, **asdict(summarize(f))} for at, f in found.items()
        ]
        out.print_json(orjson.dumps({"folders": each, "total": asdict(total)}).decode())
        return
    grid = Grid(box=None, pad_edge=False)
    for title, justify in (("table", "left"), ("day", "left"), ("bucket", "right"), ("files", "right")):
        grid.add_column(title, justify=justify)  # type: ignore[arg-type]  # the literals above
    for title in ("rows", "bytes", "first", "last"):
        grid.add_column(title, justify="right")
    for at, files in found.items():
        grid.add_row(at.table, str(at.day), f"{at.bucket:02}", *_cells(summarize(files)))
    grid.add_row("total", "", "", *_cells(total))
    out.print(grid)


def _cells(some: FolderSummary) -> list[str]:
    times = ["" if at is None else f"{at:%Y-%m-%d %H:%M:%S}" for at in (some.first, some.last)]
    return [f"{some.files:,}", f"{some.rows:,}", f"{some.size:,}", *times]
