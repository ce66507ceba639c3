"""`headrace demo`: start the pipeline on this machine, write orders, watch them arrive, and verify every row."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console

from operations import barrier, load, local, local_workers
from operations.console import invocation
from operations.demo.ageing import archive_and_delete
from operations.demo.changes import follow_changes
from operations.demo.orders import CATCH_UP_S, write_orders
from operations.demo.report import verify_report
from operations.demo.steps import print_step
from operations.probe import connect_probe
from operations.settings import Settings
from schemas.errors import HeadraceError
from shop.model import History
from stack import interrupts


def run(folder: Path, out: Console, *, orders: int, olist: Path | None, keep: bool) -> bool:
    """Start the servers in `folder`, run the demo and stop everything; return whether reporting equals the sources.

    With `keep`, everything is left running. The data are deleted after success or an interrupt. After a failure they
    and the logs are kept for inspection.
    """
    past = load.history(folder=olist, orders=orders, seed=1)  # before anything starts: the folder may be unreadable
    if local.exists(folder):
        hint = f"see `{invocation('status')}`, or delete it: `{invocation('down --wipe')}`"
        raise HeadraceError(f"{folder} already holds a pipeline; {hint}")
    failed = True
    with interrupts.terminable():
        try:
            failed = not _run_all(folder, past, out)
        except KeyboardInterrupt:
            failed = keep = False
            raise
        finally:
            with interrupts.undisturbed():
                _stop(folder, out, keep=keep, failed=failed)
    return not failed


def run_on(settings: Settings, out: Console, *, orders: int, olist: Path | None) -> bool:
    """Run the demo on a pipeline that already runs, such as docker-compose.yml's; start and stop nothing.

    Return whether reporting equals the sources.
    """
    past = load.history(folder=olist, orders=orders, seed=1)
    began = time.monotonic()
    at = settings.reporting
    print_step(
        out, "[1/5] servers", f"already running; reporting is {at.database} ({at.adapter}) on {at.host}:{at.port}"
    )
    barrier.wait_for_barrier(connect_probe(settings), deadline_s=CATCH_UP_S)
    print_step(out, "[2/5] pipeline", f"captures, enriches and lands; checked in {time.monotonic() - began:.1f} s")
    return _steps(settings, past, out, began, lambda: None)


def _run_all(folder: Path, past: History, out: Console) -> bool:
    began = time.monotonic()
    settings = _start(folder, out)
    return _steps(settings, past, out, began, partial(local_workers.check_workers, folder))


def _start(folder: Path, out: Console) -> Settings:
    began = time.monotonic()
    out.print("Starts real servers, writes orders, and stops everything again. Takes about a minute.", style="dim")
    settings, ready = local.start(folder, lambda line: out.print(f"      {line}", style="dim", markup=False))
    print_step(out, "[1/5] servers", local.describe(ready))
    seconds = time.monotonic() - began
    workers = len(local_workers.WORKERS)
    print_step(out, "[2/5] pipeline", f"2 connectors and {workers} workers running after {seconds:.1f} s")
    return settings


def _steps(settings: Settings, past: History, out: Console, began: float, check: Callable[[], None]) -> bool:
    landed_after = write_orders(settings, past, out, began, check)
    follow_changes(settings, out, check)
    equal = verify_report(settings, out, check) and archive_and_delete(settings, past.first_day, out, check)
    took = time.monotonic() - began
    out.print(f"\nFirst order in reporting {landed_after:.1f} s after the start; everything in {took:.1f} s.")
    return equal


def _stop(folder: Path, out: Console, *, keep: bool, failed: bool) -> None:
    """Stop everything, and delete it unless the demo failed and left logs. With `keep`, leave it running."""
    if keep:
        local.print_running(folder, out)
        return
    evidence = failed and any(local.logs(folder).glob("*.log"))
    local.down(folder, Console(quiet=True), wipe=not evidence)
    if evidence:
        delete = f"`{invocation('down --wipe')}` deletes both"
        out.print(f"Stopped. Logs: {local.logs(folder)}; data: {folder}; {delete}.", markup=False, soft_wrap=True)
