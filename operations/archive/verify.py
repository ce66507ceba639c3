"""Run `headrace archive verify`: audit the archive, and print the findings."""

from dataclasses import asdict
from datetime import UTC, datetime

import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from operations.settings import PREFIX
from schemas.errors import HeadraceError
from schemas.tables import TABLES
from sinks.archive.audit import Audit, FindingKind, audit
from sinks.archive.log import Log


def audit_with_progress(log: Log, err: Console) -> Audit:
    """Audit the archive, with a progress bar on a terminal.

    Raises HeadraceError where nothing was ever archived: a folder that is not mounted must not count as intact.
    """
    columns = (TextColumn("verify"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task("verify", total=None)
        found = audit(
            log,
            TABLES,
            now=datetime.now(UTC),
            on_file=lambda done, total: bar.update(task, completed=done, total=total),
        )
    if not found.entries and not found.damaged:
        raise HeadraceError(f"nothing was ever archived at {log.store.url}; check {PREFIX}ARCHIVE__URL")
    return found


def print_audit(found: Audit, out: Console, *, json: bool) -> None:
    """Print each damaged file or entry, the harmless findings by kind, and the totals."""
    if json:
        findings = [asdict(each) | {"damage": each.damage} for each in found.findings]
        summary = asdict(found) | {"findings": findings, "whole": not found.damaged and not found.undecided}
        out.print_json(orjson.dumps(summary).decode())
        return
    for each in sorted(found.findings, key=lambda each: (each.what, each.name)):
        if each.damage or each.what is FindingKind.UNREADABLE:
            name = "" if each.name in each.said else f"{each.name}: "
            out.print(f"{each.what}: {name}{each.said}", markup=False, soft_wrap=True, style="red")
    for (what, meaning), names in _harmless(found).items():
        some = names[0] if len(names) == 1 else f"{len(names):,} files, {names[0]} for one"
        out.print(f"{what}: {some}: {meaning}", markup=False, soft_wrap=True)
    totals = f"{found.entries:,} entries, {found.files:,} files, {found.rows:,} rows, {found.size:,} bytes"
    out.print(f"{_verdict(found)}: {totals}")


def _harmless(found: Audit) -> dict[tuple[FindingKind, str], list[str]]:
    """Return the names of harmless findings by kind and explanation: after a compaction there are many."""
    names: dict[tuple[FindingKind, str], list[str]] = {}
    for each in sorted(found.findings, key=lambda each: (each.what, each.name)):
        if not each.damage and each.what is not FindingKind.UNREADABLE:
            names.setdefault((each.what, each.said), []).append(each.name)
    return names


def _verdict(found: Audit) -> str:
    if found.damaged:
        return f"{sum(each.damage for each in found.findings):,} DAMAGED"
    return "undecided" if found.undecided else "everything is whole"
