"""Start the servers side by side, probe each until it answers, and stop them.

Each server has a thread; the caller keeps the main thread, and so may migrate a database while Connect is still
starting:

    with starting(folder) as stack:
        stack.wait_for("postgres")
        migrate(stack.environment())

The block's end waits for all servers. An exception in it, Ctrl-C included, stops those it started.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack import aot, java, postgres, processes
from stack.folder import Folder, Ports, load_passwords
from stack.interrupts import terminable
from stack.servers import SERVERS, Declarations, Layout, Server
from stack.startup import STOP_GRACE_S, OnEvent, Stack, stop_all

RECORDING_GRACE_S = 300.0  # a JVM that writes its cache as it ends takes seconds of processor time


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """One server as `headrace status` shows it. `ready`: it answers at this moment."""

    name: str
    running: bool
    ready: bool
    port: int | None
    pid: int | None
    memory_bytes: int
    up_s: float
    log: Path


def _ignore(server: str, state: str, seconds: float) -> None:
    return None


@contextmanager
def starting(
    folder: Path, *, jit: bool = False, on_event: OnEvent = _ignore, servers: Declarations = SERVERS
) -> Iterator[Stack]:
    """Start the servers of `folder`; the block runs beside that, and its end waits until all answer.

    Args:
        folder: the stack's state folder; it is made if it doesn't exist.
        jit: give the JVMs their full compiler and more memory, for measurements.
        on_event: called with a server, its new state and the seconds since the start, by several threads but one at a
            time.
        servers: declarations that replace those of stack/servers.py, under the same names.

    Raises:
        StackError: it names the server at fault and quotes the end of its log.
    """
    where = Folder(folder.absolute())
    where.create()
    with where.locked(), terminable():
        begin = time.monotonic()

        def tell(said: str) -> None:
            on_event("java", said, time.monotonic() - begin)

        jars = java.jars(tell)
        if servers is SERVERS:
            aot.make(jars, servers, _start_and_stop, tell)
        ports = Ports(where)
        layout = Layout(
            folder=where,
            postgres=postgres.find_home(where),
            java=java.runtime(),
            jars=jars,
            caches=aot.folder(jars),
            ports=ports.current(),
            passwords=load_passwords(where),
            jit=jit,
        )
        stack = Stack(layout, ports, on_event, servers)
        try:
            stack.launch()
            yield stack
            stack.settle()
        except BaseException:
            stack.abandon()
            raise


def up(folder: Path, *, jit: bool = False, on_event: OnEvent = _ignore, servers: Declarations = SERVERS) -> Stack:
    """Start all servers and wait until they answer; those that run already are kept."""
    with starting(folder, jit=jit, on_event=on_event, servers=servers) as stack:
        pass
    return stack


def _start_and_stop(servers: Declarations) -> None:
    """Run servers in a temporary folder until all answer, then stop them gracefully."""
    with tempfile.TemporaryDirectory(prefix="headrace-classes-") as temporary:
        folder = Path(temporary) / "stack"
        try:
            up(folder, servers=servers)
            down(folder, grace=RECORDING_GRACE_S)
        finally:
            down(folder, wipe=True)


def down(folder: Path, *, wipe: bool = False, on_event: OnEvent = _ignore, grace: float = STOP_GRACE_S) -> None:
    """Stop all servers of `folder`; with `wipe`, delete its data, passwords and logs too.

    Before a wipe, too, Connect ends first: without Kafka it waits for answers until it is killed.

    Args:
        folder: the stack's state folder; without a stack in it, nothing happens.
        wipe: delete the folder once all servers have ended.
        on_event: called as `starting` calls it, with "stopped" or "killed".
        grace: how many seconds after its signal a server is killed.
    """
    where = Folder(folder.absolute())
    if not where.marker.exists():
        return
    with where.locked():
        begin = time.monotonic()
        found = {name: processes.find(where.pid_of(name)) for name in SERVERS}
        stop_all(
            {name: running for name, running in found.items() if running},
            grace,
            lambda server, state: on_event(server, state, time.monotonic() - begin),
        )
        if wipe:
            where.wipe()


def status(folder: Path) -> list[ServerStatus]:
    """Return the present state of each server of `folder`. Starts and changes nothing."""
    where = Folder(folder.absolute())
    if not where.ports.exists() or not where.passwords.exists():
        return [
            ServerStatus(
                name=name,
                running=False,
                ready=False,
                port=None,
                pid=None,
                memory_bytes=0,
                up_s=0.0,
                log=where.log_of(name),
            )
            for name in SERVERS
        ]
    nowhere = Path()
    layout = Layout(
        folder=where,
        postgres=postgres.Home(root=nowhere, bin=nowhere, user=None),
        java=nowhere,
        jars=nowhere,
        caches=nowhere,
        ports=Ports(where).current(),
        passwords=load_passwords(where),
        jit=False,
    )
    return [_status_of(declare(layout), layout) for declare in SERVERS.values()]


def _status_of(server: Server, layout: Layout) -> ServerStatus:
    running = processes.find(layout.folder.pid_of(server.name))
    process = running.process() if running else None
    return ServerStatus(
        name=server.name,
        running=process is not None,
        ready=process is not None and server.probe(),
        port=layout.ports[server.ports[0]],
        pid=process.pid if process else None,
        memory_bytes=processes.memory(process) if process else 0,
        up_s=time.time() - process.create_time() if process else 0.0,
        log=layout.folder.log_of(server.name),
    )
