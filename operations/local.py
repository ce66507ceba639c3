"""The whole pipeline on this machine: servers without Docker, migrated and capturing, and the workers.

Imports that `down` doesn't need are made where they are used.
"""

import time
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from operations.console import invocation
from operations.local_workers import (
    SHARED,
    feeding,
    running_workers,
    start_workers,
    stop_workers,
    wait_for_workers,
)
from operations.settings import Settings, adopt
from schemas.errors import HeadraceError
from stack import interrupts, supervisor
from stack.folder import Folder
from stack.servers import Server
from stack.startup import Stack

Say = Callable[[str], None]


def start(folder: Path, say: Say) -> tuple[Settings, dict[str, float]]:
    """Start what isn't running yet; return the settings, and the seconds after which each server was ready.

    Connect is the slowest server: databases are migrated, topics created and workers started while it starts.
    Interrupted, or failed before all servers answer, it stops what it has started, and nothing else. Afterwards the
    servers keep running, because they are needed to correct what capture refuses.

    Raises:
        StackError: a server can't be started.
        HeadraceError: capture was refused, or a worker ended.
    """
    from operations import capture

    ready: dict[str, float] = {}
    refused: HeadraceError | None = None

    def on_event(server: str, state: str, seconds: float) -> None:
        if state == "ready":
            ready[server] = seconds
        elif server == "java":  # the first start downloads the jars, which takes minutes on a slow network
            say(state)

    with supervisor.starting(folder, on_event=on_event) as stack:
        before = running_workers(folder)
        try:
            workers = _prepare(stack, folder)
            stack.settle()
            settings = adopt(stack.environment())
            try:
                capture.apply(settings, lambda _: None)
                wait_for_workers(folder, workers)
            except HeadraceError as error:
                refused = error
        except BaseException:  # workers first: without Kafka they take long to stop
            with interrupts.undisturbed():
                stop_workers(folder, besides=before)
            raise
    if refused is not None:
        raise refused
    return settings, ready


def _prepare(stack: Stack, folder: Path) -> dict[str, Server]:
    """Do all that is possible while Connect starts; return the workers that were started."""
    from operations import capture, connections, migrate

    stack.wait_for("postgres")
    settings = adopt(stack.environment())
    migrate.migrate_oltp(settings)
    migrate.migrate_reporting(settings)
    stack.wait_for("catalog", "kafka", "registry")
    settings = adopt(stack.environment())
    migrate.migrate_catalog(settings)
    capture.make_topics(settings)
    generations = connections.active_generations(settings)
    return start_workers(folder, [*(name for each in generations for name in feeding(each.number)), *SHARED])


def exists(folder: Path) -> bool:
    """Return whether `folder` holds a pipeline, running or stopped."""
    return Folder(folder.absolute()).marker.exists()


def logs(folder: Path) -> Path:
    """Return the folder of the servers' and workers' logs."""
    return Folder(folder.absolute()).logs


def up(folder: Path, out: Console) -> None:
    """Start the whole pipeline, and print what to do next. After a failure, print what is left running."""
    began = time.monotonic()
    try:
        with interrupts.terminable():
            _, ready = start(folder, lambda line: out.print(line, style="dim", markup=False))
    except BaseException:
        print_running(folder, out)
        raise
    out.print(f"servers   {describe(ready)}", soft_wrap=True)
    out.print(f"pipeline  captures, enriches and lands after {time.monotonic() - began:.1f} s")
    out.print(f"next      {invocation('load shop --orders 500')} && {invocation('verify')}", soft_wrap=True)


def print_running(folder: Path, out: Console) -> None:
    """Print which processes of `folder` still run, if any, and how to stop them."""
    servers = [server.name for server in supervisor.status(folder) if server.running]
    left = [*servers, *sorted(running_workers(folder))]
    if left:
        hint = f"`{invocation('status')}` shows them, `{invocation('down')}` stops them"
        out.print(f"Left running: {', '.join(left)}; {hint}.", markup=False, soft_wrap=True)


def down(folder: Path, out: Console, *, wipe: bool) -> None:
    """Stop workers and servers of `folder`; with `wipe`, delete their data."""
    stop_workers(folder)
    stopped: list[str] = []
    supervisor.down(folder, wipe=wipe, on_event=lambda server, state, _: stopped.append(f"{server} {state}"))
    out.print(", ".join(stopped) or "nothing was running", markup=False)
    if wipe:
        out.print(f"{folder} deleted")


def describe(ready: dict[str, float]) -> str:
    """Return when each server was ready, the earliest first: `postgres 1.0s  kafka 4.2s`."""
    return "  ".join(f"{server} {seconds:.1f}s" for server, seconds in sorted(ready.items(), key=lambda item: item[1]))
