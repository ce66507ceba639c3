"""`headrace archive verify`: everything in the archive, read and compared."""

from dataclasses import asdict
from datetime import UTC, datetime

import orjson
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from operations.settings import PREFIX
from schemas.errors import HeadraceError
from schemas.tables import TABLES
from sinks.archive.audit import Audit, What, audit
from sinks.archive.log import Log


def audit_with_progress(log: Log, err: Console) -> Audit:
    """Looks at everything, behind a progress bar on a terminal. Raises HeadraceError where there is nothing to look at:
    of a folder that isn't mounted nobody shall hear that it is whole."""
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
    """Prints each damage, what is harmless by its kind, and what was looked at."""
    if json:
        findings = [asdict(each) | {"damage": each.damage} for each in found.findings]
        said = asdict(found) | {"findings": findings, "whole": not found.damaged and not found.undecided}
        out.print_json(orjson.dumps(said).decode())
        return
    for each in sorted(found.findings, key=lambda each: (each.what, each.name)):
        if each.damage or each.what is What.UNREADABLE:
            name = "" if each.name in each.said else f"{each.name}: "
            out.print(f"{each.what}: {name}{each.said}", markup=False, soft_wrap=True, style="red")
    for (what, meaning), names in _harmless(found).items():
        some = names[0] if len(names) == 1 else f"{len(names):,} files, {names[0]} for one"
        out.print(f"{what}: {some}: {meaning}", markup=False, soft_wrap=True)
    looked = f"{found.entries:,} entries, {found.files:,} files, {found.rows:,} rows, {found.size:,} bytes"
    out.print(f"{_verdict(found)}: {looked}")


def _harmless(found: Audit) -> dict[tuple[What, str], list[str]]:
    """The names of what needs nothing, by what is said of it: after a compaction they are many."""
    names: dict[tuple[What, str], list[str]] = {}
    for each in sorted(found.findings, key=lambda each: (each.what, each.name)):
        if not each.damage and each.what is not What.UNREADABLE:
            names.setdefault((each.what, each.said), []).append(each.name)
    return names


def _verdict(found: Audit) -> str:
    if found.damaged:
        return f"{sum(each.damage for each in found.findings):,} DAMAGED"
    return "undecided" if found.undecided else "everything is whole"
