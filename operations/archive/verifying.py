"""`headrace archive verify`: everything in the archive, read and compared."""

from dataclasses import asdict
from datetime import UTC, datetime

import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from schemas.tables import TABLES
from sinks.archive.audit import Audit, audit
from sinks.archive.log import Log


def look(log: Log, err: Console) -> Audit:
    """Looks at everything, behind a progress bar on a terminal."""
    columns = (TextColumn("verify"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task("verify", total=None)
        return audit(
            log,
            TABLES,
            now=datetime.now(UTC),
            on_file=lambda done, total: bar.update(task, completed=done, total=total),
        )


def show(found: Audit, out: Console, *, json: bool) -> None:
    """Prints each finding, damage first, and what was looked at."""
    if json:
        findings = [asdict(each) | {"damage": each.damage} for each in found.findings]
        said = asdict(found) | {"findings": findings, "whole": not found.damaged and not found.undecided}
        out.print_json(orjson.dumps(said).decode())
        return
    for each in sorted(found.findings, key=lambda each: (not each.damage, each.what, each.name)):
        name = "" if each.name in each.said else f"{each.name}: "
        out.print(f"{each.what}: {name}{each.said}", markup=False, soft_wrap=True, style="red" if each.damage else None)
    looked = f"{found.entries:,} entries, {found.files:,} files, {found.rows:,} rows, {found.size:,} bytes"
    out.print(f"{_verdict(found)}: {looked}")


def _verdict(found: Audit) -> str:
    if found.damaged:
        return f"{sum(each.damage for each in found.findings):,} DAMAGED"
    return "undecided" if found.undecided else "everything is whole"
