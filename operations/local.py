"""The whole line on this machine: servers without Docker, migrated and capturing, and workers beside them.

Workers are processes of their own, found again by pid file in the stack's folder like the servers. What `down` doesn't
need is imported where it is used.
"""

import os
import sys
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values
from rich.console import Console

from operations.console import invocation
from operations.settings import PREFIX, Settings, adopt
from schemas.errors import HeadraceError
from schemas.generations import FIRST, group
from stack import processes, supervisor
from stack.folder import Folder, Ports, free_port
from stack.probes import HttpAnswers
from stack.servers import Server
from stack.supervisor import Stack

Say = Callable[[str], None]
FEEDING, SHARED = ("enrich", "report", "watch"), ("archive",)
WORKERS = (*FEEDING, *SHARED)  # of a line with one generation
LIMIT = f"{PREFIX}REPORTING__MAX_RATE"
OF_GENERATION = "-g"  # in a worker's name, before the number (schemas.generations)
READY_DEADLINE_S = 60.0
POLL_S = 0.1
TAIL_LINES = 8
STOP_GRACE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """What `headrace status` shows of one worker; `pid` is None where none runs."""

    name: str
    pid: int | None
    memory_bytes: int
    log: Path


def start(folder: Path, say: Say) -> tuple[Settings, dict[str, float]]:
    """Start what isn't running yet; returns the settings, and when each server was ready (s).

    Connect is the slowest server: databases are migrated, topics made and workers started while it starts.
    Interrupted, or failed before all servers answer, it stops what it has started, and nothing else. Once they answer
    they stay: what capture refuses is mended with their help. Raises StackError, or HeadraceError for capture or a
    worker that ends.
    """
    from operations import capture

    ready: dict[str, float] = {}
    refused: HeadraceError | None = None

    def on_event(server: str, state: str, seconds: float) -> None:
        if state == "ready":
            ready[server] = seconds
        elif server == "java":  # the jars of a first start: minutes on a slow line
            say(state)

    with supervisor.starting(folder, on_event=on_event) as stack:
        before = _running(folder)
        try:
            workers = _prepare(stack, folder)
            stack.settle()
            settings = adopt(stack.environment())
            try:
                capture.apply(settings, lambda _: None)
                _wait_for_workers(folder, workers)
            except HeadraceError as error:
                refused = error
        except BaseException:  # before the servers: a worker without Kafka takes its time to end
            with supervisor.undisturbed():
                stop_workers(folder, besides=before)
            raise
    if refused is not None:
        raise refused
    return settings, ready


def _prepare(stack: Stack, folder: Path) -> dict[str, Server]:
    """All that can be done while Connect starts; returns the workers that were started."""
    from operations import capture, connections, migrate

    stack.wait_for("postgres")
    settings = adopt(stack.environment())
    migrate.migrate_oltp(settings)
    migrate.migrate_reporting(settings)
    stack.wait_for("catalog", "kafka", "registry")
    settings = adopt(stack.environment())
    migrate.migrate_catalog(settings)
    capture.make_topics(settings)
    fed = connections.fed(settings)
    return _start_workers(folder, [*(name for each in fed for name in feeding(each.number)), *SHARED])


def exists(folder: Path) -> bool:
    """Whether `folder` holds a stack, running or stopped."""
    return Folder(folder.absolute()).marker.exists()


def logs(folder: Path) -> Path:
    """Where servers and workers write what happens to them."""
    return Folder(folder.absolute()).logs


def up(folder: Path, out: Console) -> None:
    """The whole line, ready for orders. Prints how to go on, and when it fails what is left running."""
    began = time.monotonic()
    try:
        with supervisor.terminable():
            _, ready = start(folder, lambda said: out.print(said, style="dim", markup=False))
    except BaseException:
        say_left(folder, out)
        raise
    out.print(f"servers   {describe(ready)}", soft_wrap=True)
    out.print(f"line      captures, enriches and lands; {time.monotonic() - began:.1f} s in all")
    out.print(f"next      {invocation('load shop --orders 500')} && {invocation('verify')}", soft_wrap=True)


def say_left(folder: Path, out: Console) -> None:
    """Print which processes of `folder` still run, if any, and how to end them."""
    servers = [server.name for server in supervisor.status(folder) if server.running]
    left = [*servers, *sorted(_running(folder))]
    if left:
        ends = f"`{invocation('status')}` shows them, `{invocation('down')}` stops them"
        out.print(f"Left running: {', '.join(left)}; {ends}.", markup=False, soft_wrap=True)


def down(folder: Path, out: Console, *, wipe: bool) -> None:
    """Stop workers and servers of `folder`; with `wipe`, delete their data."""
    stop_workers(folder)
    stopped: list[str] = []
    supervisor.down(folder, wipe=wipe, on_event=lambda server, state, _: stopped.append(f"{server} {state}"))
    out.print(", ".join(stopped) or "nothing was running", markup=False)
    if wipe:
        out.print(f"{folder} is gone")


def describe(ready: dict[str, float]) -> str:
    """When each server was ready, in the order of time: `postgres 1.0s  kafka 4.2s`."""
    return "  ".join(f"{server} {seconds:.1f}s" for server, seconds in sorted(ready.items(), key=lambda item: item[1]))


def workers(folder: Path) -> list[WorkerStatus]:
    """The workers of `folder`, running or not; none where there is no stack."""
    if not exists(folder):
        return []
    where = Folder(folder.absolute())
    return [_status_of(where, name) for name in _known(where)]


def _status_of(where: Folder, name: str) -> WorkerStatus:
    running = processes.find(where.pid_of(name))
    process = running.process() if running else None
    return WorkerStatus(
        name=name,
        pid=process.pid if process else None,
        memory_bytes=processes.memory(process) if process else 0,
        log=where.log_of(name),
    )


def check_workers(folder: Path) -> None:
    """Raise HeadraceError, with the end of its log, for a worker that has ended."""
    where = Folder(folder.absolute())
    for name in _known(where):
        _check_worker(where, name)


def _check_worker(where: Folder, name: str) -> None:
    if processes.find(where.pid_of(name)) is None:
        raise HeadraceError(f"worker {name} has ended; {_tail(where.log_of(name))}")


def _running(folder: Path) -> set[str]:
    where = Folder(folder.absolute())
    return {name for name in _known(where) if processes.find(where.pid_of(name)) is not None}


def _known(where: Folder) -> list[str]:
    """The workers of a stack: those that it has started, and of a line that was never up those of the first."""
    begun = [path.stem for path in where.run.glob("*.json") if path.stem.partition(OF_GENERATION)[0] in WORKERS]
    return sorted(begun) or list(WORKERS)


def feeding(generation: int) -> tuple[str, ...]:
    """What the workers that feed a generation of reporting are called."""
    return tuple(group(name, generation) for name in FEEDING)


def serves(folder: Path, settings: Settings) -> bool:
    """Whether the line that the settings name is the one of `folder`, so that its workers are processes here."""
    where = Folder(folder.absolute())
    known = dotenv_values(where.environment) if where.environment.exists() else {}
    return known.get(f"{PREFIX}KAFKA__BOOTSTRAP") == settings.kafka.bootstrap


def start_generation(folder: Path, generation: int, max_rate: float) -> None:
    """Start the workers that feed a generation, where they don't run, and wait until they are ready. `max_rate` is how
    many records a second each takes at most, 0 for no limit. Raises HeadraceError for one that ends."""
    _wait_for_workers(folder, _start_workers(folder, feeding(generation), (LIMIT, str(max_rate))))


def is_limited(folder: Path, generation: int) -> bool:
    """Whether a worker of this generation was started with a limit on its rate."""
    where = Folder(folder.absolute())
    running = [found.process() for name in feeding(generation) if (found := processes.find(where.pid_of(name)))]
    return any(float(process.environ().get(LIMIT, 0)) > 0 for process in running if process)


def check_generation(folder: Path, generation: int) -> None:
    """Raise HeadraceError, with the end of its log, for a worker of this generation that has ended."""
    where = Folder(folder.absolute())
    for name in feeding(generation):
        _check_worker(where, name)


def stop_generation(folder: Path, generation: int) -> None:
    """Stop the workers of a generation, and forget them."""
    where = Folder(folder.absolute())
    _stop(where, feeding(generation))
    for name in feeding(generation):
        where.pid_of(name).unlink(missing_ok=True)


def _start_workers(folder: Path, names: Iterable[str], *env: tuple[str, str]) -> dict[str, Server]:
    """Start those of these workers that are not running, and return these; `_wait_for_workers` tells when they are
    ready."""
    where = Folder(folder.absolute())
    taken = set(Ports(where).current().values())
    started: dict[str, Server] = {}
    for name in sorted(set(names) - _running(folder)):
        port = free_port(taken)
        taken.add(port)
        started[name] = _declare(name, port, *env)
        where.log_of(name).unlink(missing_ok=True)
        processes.start(started[name], log=where.log_of(name), pid_file=where.pid_of(name))
    return started


def _wait_for_workers(folder: Path, workers: dict[str, Server]) -> None:
    """Return when each worker is ready. Raises HeadraceError with the end of its log when one has ended."""
    where = Folder(folder.absolute())
    end = time.monotonic() + READY_DEADLINE_S
    for name, worker in workers.items():
        while not worker.probe():
            _check_worker(where, name)
            if time.monotonic() > end:
                tail = _tail(where.log_of(name))
                raise HeadraceError(f"worker {name} was not ready after {READY_DEADLINE_S:.0f} s; {tail}")
            time.sleep(POLL_S)


def stop_workers(folder: Path, *, besides: Collection[str] = ()) -> None:
    """Ask the workers, but for those in `besides`, to finish their batch and end."""
    where = Folder(folder.absolute())
    _stop(where, [name for name in _known(where) if name not in besides])


def _stop(where: Folder, names: Collection[str]) -> None:
    found = [processes.find(where.pid_of(name)) for name in names]
    with ThreadPoolExecutor(max(1, len(names))) as pool:
        list(pool.map(lambda running: processes.stop(running, grace=STOP_GRACE_S), filter(None, found)))


def _declare(name: str, port: int, *env: tuple[str, str]) -> Server:
    worker, _, number = name.partition(OF_GENERATION)
    setting = {"enrich": "ENRICH", "report": "SINK", "archive": "ARCHIVE", "watch": "WATCH"}[worker]
    own = ("--generation", number or str(FIRST)) if worker in FEEDING else ()
    return Server(
        name=name,
        command=(sys.executable, "-m", "operations", "run", worker, *own),
        probe=HttpAnswers(port, "/readyz"),
        ports=(),
        env=(*os.environ.items(), *env, (f"{PREFIX}{setting}__HTTP_PORT", str(port))),
        cwd=Path.cwd(),
    )


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-TAIL_LINES:] if log.exists() else []
    return f"the end of {log}:\n" + "\n".join(lines)
