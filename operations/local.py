"""The whole line on this machine: servers without Docker, migrated and capturing, and workers beside them.

Workers are processes of their own, found again by pid file in the stack's folder like the servers.
"""

import os
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from operations import capture, migrate
from operations.capture import Say
from operations.settings import PREFIX, Settings, adopt
from schemas.errors import HeadraceError
from stack import processes, supervisor
from stack.folder import LOOPBACK, Folder
from stack.probes import HttpAnswers
from stack.servers import Server

WORKERS = ("enrich", "report")
READY_DEADLINE_S = 60.0
POLL_S = 0.1
TAIL_LINES = 8
STOP_GRACE_S = 20.0


def start(folder: Path, say: Say) -> tuple[Settings, dict[str, float]]:
    """Start what isn't running yet; returns the settings, and when each server was ready (s).

    Connect is the slowest server: databases are migrated, topics made and workers started while it starts.
    Raises StackError, or HeadraceError for a worker that ends.
    """
    ready: dict[str, float] = {}

    def on_event(server: str, state: str, seconds: float) -> None:
        if state == "ready":
            ready[server] = seconds
        elif server == "java":  # the jars of a first start: minutes on a slow line
            say(state)

    try:
        with supervisor.starting(folder, on_event=on_event) as stack:
            stack.wait_for("postgres")
            settings = adopt(stack.environment())
            migrate.migrate_oltp(settings)
            migrate.migrate_reporting(settings)
            stack.wait_for("catalog", "kafka", "registry")
            settings = adopt(stack.environment())
            migrate.migrate_catalog(settings)
            capture.make_topics(settings)
            workers = start_workers(folder)
        settings = adopt(stack.environment())
        capture.apply(settings, lambda _: None)
        wait_for_workers(folder, workers)
    except BaseException:
        stop_workers(folder)
        raise
    return settings, ready


def exists(folder: Path) -> bool:
    """Whether `folder` holds a stack, running or stopped."""
    return Folder(folder.absolute()).marker.exists()


def up(folder: Path, out: Console) -> None:
    """The whole line, ready for orders. Prints how to go on."""
    began = time.monotonic()
    _, ready = start(folder, lambda said: out.print(said, style="dim", markup=False))
    out.print(f"servers   {describe(ready)}", soft_wrap=True)
    out.print(f"line      captures, enriches and lands; {time.monotonic() - began:.1f} s in all")
    out.print("next      headrace load shop --orders 500 && headrace verify")


def down(folder: Path, out: Console, *, wipe: bool) -> None:
    """Stop workers and servers of `folder`; with `wipe`, delete their data."""
    stop_workers(folder)
    stopped: list[str] = []
    supervisor.down(folder, wipe=wipe, on_event=lambda server, state, _: stopped.append(f"{server} {state}"))
    out.print(", ".join(stopped) or "nothing was running", markup=False)
    if wipe:
        out.print(f"{folder} is empty")


def describe(ready: dict[str, float]) -> str:
    """When each server was ready, in the order of time: `postgres 1.0s  kafka 4.2s`."""
    return "  ".join(f"{server} {seconds:.1f}s" for server, seconds in sorted(ready.items(), key=lambda item: item[1]))


def start_workers(folder: Path) -> dict[str, Server]:
    """Start the workers that are not running, and return these; `wait_for_workers` tells when they are ready."""
    where = Folder(folder.absolute())
    started = {name: _declare(name) for name in WORKERS if processes.find(where.pid_of(name)) is None}
    for name, worker in started.items():
        where.log_of(name).unlink(missing_ok=True)
        processes.start(worker, log=where.log_of(name), pid_file=where.pid_of(name))
    return started


def wait_for_workers(folder: Path, workers: Mapping[str, Server]) -> None:
    """Return when each worker is ready. Raises HeadraceError with the end of its log when one has ended."""
    where = Folder(folder.absolute())
    end = time.monotonic() + READY_DEADLINE_S
    for name, worker in workers.items():
        while not worker.probe():
            log = where.log_of(name)
            if processes.find(where.pid_of(name)) is None:
                raise HeadraceError(f"worker {name} has ended; {_tail(log)}")
            if time.monotonic() > end:
                raise HeadraceError(f"worker {name} was not ready after {READY_DEADLINE_S:.0f} s; {_tail(log)}")
            time.sleep(POLL_S)


def stop_workers(folder: Path) -> None:
    """Ask the workers to finish their batch and end."""
    where = Folder(folder.absolute())
    for name in WORKERS:
        running = processes.find(where.pid_of(name))
        if running is not None:
            processes.stop(running, grace=STOP_GRACE_S)


def _declare(name: str) -> Server:
    port = _free_port()
    setting = {"enrich": "ENRICH", "report": "SINK"}[name]
    return Server(
        name=name,
        command=(sys.executable, "-m", "operations", "run", name),
        probe=HttpAnswers(port, "/readyz"),
        ports=(),
        env=(*os.environ.items(), (f"{PREFIX}{setting}__HTTP_PORT", str(port))),
        cwd=Path.cwd(),
    )


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as listener:
        return int(listener.getsockname()[1])


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return f"the end of {log}:\n" + "\n".join(lines)
