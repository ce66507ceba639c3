"""The worker processes of the pipeline on this machine. Like the servers, they are found by pid files in its folder."""

import os
import sys
import time
from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from operations.settings import PREFIX, Settings
from schemas.errors import HeadraceError
from schemas.generations import FIRST, group
from stack import processes
from stack.folder import Folder, Ports, free_port
from stack.probes import HttpAnswers
from stack.servers import Server

FEEDING, SHARED = ("enrich", "report", "watch"), ("archive",)
WORKERS = (*FEEDING, *SHARED)  # of a pipeline with one generation
LIMIT = f"{PREFIX}REPORTING__MAX_RATE"
OF_GENERATION = "-g"  # in a worker's name, before the number (schemas.generations)
READY_DEADLINE_S = 180.0  # a slow machine on which all servers start at the same time
POLL_S = 0.1
TAIL_LINES = 8
STOP_GRACE_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One worker, for `headrace status`. `pid` is None, and `memory_bytes` 0, where it isn't running."""

    name: str
    pid: int | None
    memory_bytes: int
    log: Path


def workers(folder: Path) -> list[WorkerStatus]:
    """Return the workers of `folder`, running or not; none where it holds no pipeline."""
    where = Folder(folder.absolute())
    return [_status_of(where, name) for name in _known(where)] if where.marker.exists() else []


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


def running_workers(folder: Path) -> set[str]:
    """Return the names of the workers of `folder` that are running."""
    where = Folder(folder.absolute())
    return {name for name in _known(where) if processes.find(where.pid_of(name)) is not None}


def _known(where: Folder) -> list[str]:
    """Return the workers that were started in a folder, or where none ever was, those of generation 1."""
    begun = [path.stem for path in where.run.glob("*.json") if path.stem.partition(OF_GENERATION)[0] in WORKERS]
    return sorted(begun) or list(WORKERS)


def feeding(generation: int) -> tuple[str, ...]:
    """Return the names of the workers that feed a generation of reporting."""
    return tuple(group(name, generation) for name in FEEDING)


def serves(folder: Path, settings: Settings) -> bool:
    """Return whether the pipeline that the settings name is the one of `folder`, with its workers on this machine."""
    where = Folder(folder.absolute())
    known = dotenv_values(where.environment) if where.environment.exists() else {}
    return known.get(f"{PREFIX}KAFKA__BOOTSTRAP") == settings.kafka.bootstrap


def start_generation(folder: Path, generation: int, max_rate: float) -> None:
    """Start those workers of a generation that aren't running, and wait until they are ready.

    `max_rate` limits each of them, in records a second; 0 means no limit. Raises HeadraceError for one that ends.
    """
    wait_for_workers(folder, start_workers(folder, feeding(generation), (LIMIT, str(max_rate))))


def is_limited(folder: Path, generation: int) -> bool:
    """Return whether a worker of this generation was started with a limit on its rate."""
    where = Folder(folder.absolute())
    running = [found.process() for name in feeding(generation) if (found := processes.find(where.pid_of(name)))]
    return any(float(process.environ().get(LIMIT, 0)) > 0 for process in running if process)


def check_generation(folder: Path, generation: int) -> None:
    """Raise HeadraceError, with the end of its log, for a worker of this generation that has ended."""
    where = Folder(folder.absolute())
    for name in feeding(generation):
        _check_worker(where, name)


def stop_generation(folder: Path, generation: int) -> None:
    """Stop the workers of a generation and remove their pid files."""
    where = Folder(folder.absolute())
    _stop(where, feeding(generation))
    for name in feeding(generation):
        where.pid_of(name).unlink(missing_ok=True)


def start_workers(folder: Path, names: Iterable[str], *env: tuple[str, str]) -> dict[str, Server]:
    """Start those of these workers that aren't running, and return them; `wait_for_workers` waits until they are ready.

    `env` is added to their environment.
    """
    where = Folder(folder.absolute())
    taken = set(Ports(where).current().values())
    started: dict[str, Server] = {}
    for name in sorted(set(names) - running_workers(folder)):
        port = free_port(taken)
        taken.add(port)
        started[name] = _declare(name, port, *env)
        where.log_of(name).unlink(missing_ok=True)
        processes.start(started[name], log=where.log_of(name), pid_file=where.pid_of(name))
    return started


def wait_for_workers(folder: Path, workers: dict[str, Server]) -> None:
    """Wait until each worker is ready. Raises HeadraceError, with the end of its log, for one that ends or is late."""
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
    """Stop the workers, except those in `besides`. Each completes its current batch first."""
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
