"""Starts the servers side by side, watches each until it answers, and stops them all again.

One thread a server; the caller keeps the main thread, and so may migrate a database while Connect
is still starting:

    with starting(folder) as stack:
        stack.wait_for("postgres")
        migrate(stack.environment())

The block's end waits for all servers. An exception in it, Ctrl-C included, stops those it started.
"""

import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from stack import aot, java, postgres, processes
from stack.errors import StackError
from stack.folder import Folder, Ports, is_free, load_passwords, write_private
from stack.servers import SERVERS, STOP_ORDER, Declarations, Layout, Server, environment

OnEvent = Callable[[str, str, float], None]

READY_DEADLINE_S = 180.0  # a cold start of everything on one slow core
STOP_GRACE_S = 30.0
WIPE_GRACE_S = 2.0  # what they would tidy up is about to be deleted
RECORDING_GRACE_S = 300.0  # a JVM that writes its cache as it ends takes seconds of processor time
PROBE_EVERY_S = 0.1
RESEND_S = 0.05
PORT_ATTEMPTS = 5
LOG_TAIL_LINES = 12
NOT_STARTED = "see docs/runbook.md#server-did-not-start"
LOG_KEPT_BYTES = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStatus:
    """What `headrace status` shows of one server. `ready`: it answers at this moment."""

    name: str
    running: bool
    ready: bool
    port: int | None
    pid: int | None
    memory_bytes: int
    up_s: float
    log: Path


class _Stopping(Exception):
    """The start was given up; a thread that sees this has nothing to report."""


class Stack:
    """The servers of one folder, starting or running."""

    def __init__(self, layout: Layout, ports: Ports, on_event: OnEvent, servers: Declarations = SERVERS) -> None:
        self._layout = layout
        self._ports = ports
        self._on_event = on_event
        self._servers = servers
        self._begin = time.monotonic()
        self._stopping = threading.Event()
        self._lock = threading.Lock()  # ports and events
        self._ready: dict[str, Future[None]] = {name: Future() for name in SERVERS}
        self._started: dict[str, processes.Running] = {}
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"start-{name}", daemon=True) for name in SERVERS
        ]

    @property
    def folder(self) -> Path:
        return self._layout.folder.root

    def wait_for(self, *names: str) -> None:
        """Return when these servers answer. Raises StackError as soon as any server has failed."""
        wanted = {self._ready[name] for name in names}
        pending = set(self._ready.values())
        while True:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if error is not None and not isinstance(error, _Stopping):  # such a one follows from another's error
                    raise error
            if not wanted & pending:
                return

    def environment(self) -> dict[str, str]:
        """Settings for `headrace` commands. The port of a server is final once it has been waited for."""
        layout = self._layout
        # On a laptop somebody looks on: files are published within seconds, not a quarter of an hour.
        archive = {"HEADRACE_ARCHIVE__URL": str(layout.folder.archive), "HEADRACE_ARCHIVE__ROLL_SECONDS": "5"}
        return environment(self._ports.current(), layout.passwords) | archive

    def _launch(self) -> None:
        for thread in self._threads:
            thread.start()

    def settle(self) -> None:
        """Return when all servers answer and know each other's final ports; write the settings file.

        The block's end does so, too. Raises as `wait_for` does.
        """
        self.wait_for(*SERVERS)
        for name in SERVERS:  # one may have been ready before another, whose port it was told, had to move
            running = processes.find(self._layout.folder.pid_of(name))
            if running is None or running.fingerprint != self._declare(name).fingerprint():
                self._bring_up(name)
        lines = "".join(f"{key}={value}\n" for key, value in self.environment().items())
        write_private(self._layout.folder.environment, lines)

    def _abandon(self) -> None:
        self._stopping.set()
        with undisturbed():
            for thread in self._threads:
                thread.join()
            _stop_all(self._started, WIPE_GRACE_S, self._report)

    def _report(self, server: str, state: str) -> None:
        with self._lock:
            self._on_event(server, state, time.monotonic() - self._begin)

    def _run(self, name: str) -> None:
        try:
            self._bring_up(name)
            self._ready[name].set_result(None)
        except BaseException as error:  # a thread's failure is the caller's to see
            self._ready[name].set_exception(error)

    def _declare(self, name: str) -> Server:
        return self._servers[name](replace(self._layout, ports=self._ports.current()))

    def _bring_up(self, name: str) -> None:
        """Start one server, or keep it as it runs; move it when its port was taken before it bound it."""
        self._await_needs(self._declare(name))
        for _ in range(PORT_ATTEMPTS):
            server = self._declare(name)
            running = self._kept(server) or self._start(server)
            if self._became_ready(server, running):
                server.complete()
                self._report(name, "ready")
                return
            with self._lock:
                taken = [port for port in server.ports if not is_free(self._ports.current()[port])]
                self._ports.replace(taken)
            self._report(name, "moving to another port")
        raise StackError(f"{name}: its port was taken {PORT_ATTEMPTS} times in a row; is something scanning ports?")

    def _await_needs(self, server: Server) -> None:
        for need in server.needs:
            while not self._ready[need].done():
                self._pause()
            if self._ready[need].exception() is not None:
                raise _Stopping

    def _kept(self, server: Server) -> processes.Running | None:
        folder = self._layout.folder
        running = processes.find(folder.pid_of(server.name))
        if running is None:
            return None
        if running.fingerprint == server.fingerprint():
            self._report(server.name, "running already")
            return running
        self._report(server.name, "restarting")
        processes.stop(running, grace=STOP_GRACE_S)
        return None

    def _start(self, server: Server) -> processes.Running:
        folder = self._layout.folder
        self._report(server.name, "starting")
        for path, text in server.files:
            if not path.exists() or path.read_text() != text:
                path.write_text(text)
        server.prepare()
        log = folder.log_of(server.name)
        if log.exists() and log.stat().st_size > LOG_KEPT_BYTES:
            log.replace(log.with_suffix(".1.log"))
        if self._stopping.is_set():
            raise _Stopping
        running = processes.start(server, log=log, pid_file=folder.pid_of(server.name))
        self._started[server.name] = running
        return running

    def _became_ready(self, server: Server, running: processes.Running) -> bool:
        """Probe until the server answers. False: it is to be started again with other ports."""
        log = self._layout.folder.log_of(server.name)
        end = time.monotonic() + READY_DEADLINE_S
        while time.monotonic() < end:
            alive = running.process() is not None
            if alive and server.probe() and running.process() is not None:
                return True
            if self._declare(server.name) != server:  # a server that it talks to has moved
                processes.stop(running, grace=WIPE_GRACE_S)
                return False
            if not alive:
                ports = self._ports.current()
                if any(not is_free(ports[port]) for port in server.ports):
                    return False
                raise StackError(f"{server.name} ended while it was starting; {NOT_STARTED}; {_tail(log)}")
            self._pause()
        raise StackError(
            f"{server.name} runs, but did not answer within {READY_DEADLINE_S:.0f} s; {NOT_STARTED}; {_tail(log)}"
        )

    def _pause(self) -> None:
        if self._stopping.wait(PROBE_EVERY_S):
            raise _Stopping


def _ignore(server: str, state: str, seconds: float) -> None:
    return None


@contextmanager
def starting(
    folder: Path, *, jit: bool = False, on_event: OnEvent = _ignore, servers: Declarations = SERVERS
) -> Iterator[Stack]:
    """Start the servers of `folder`; the block runs beside that, and its end waits until all answer.

    `jit` gives the JVMs their full compiler and more memory, for measurements. `on_event` is told
    (server, what happens to it, seconds since the start), from several threads but one at a time. `servers` declares
    the same servers otherwise than stack/servers.py does.
    Raises StackError, which names the server at fault and quotes the end of its log.
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
            stack._launch()
            yield stack
            stack.settle()
        except BaseException:
            stack._abandon()
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


def down(folder: Path, *, wipe: bool = False, on_event: OnEvent = _ignore, grace: float | None = None) -> None:
    """Stop all servers of `folder`; with `wipe`, delete its data, passwords and logs too.

    A server that has not ended `grace` seconds after its signal is killed; by default 30 s, or 2 s before a wipe.
    """
    where = Folder(folder.absolute())
    if not where.marker.exists():
        return
    with where.locked():
        begin = time.monotonic()
        found = {name: processes.find(where.pid_of(name)) for name in SERVERS}
        _stop_all(
            {name: running for name, running in found.items() if running},
            grace or (WIPE_GRACE_S if wipe else STOP_GRACE_S),
            lambda server, state: on_event(server, state, time.monotonic() - begin),
            order=(tuple(SERVERS),) if wipe else STOP_ORDER,  # what is about to be deleted needs no last write
        )
        if wipe:
            where.wipe()


def status(folder: Path) -> list[ServerStatus]:
    """How each server of `folder` is at this moment. Starts nothing, changes nothing."""
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


def _stop_all(
    servers: Mapping[str, processes.Running],
    grace: float,
    report: Callable[[str, str], None],
    order: Iterable[tuple[str, ...]] = STOP_ORDER,
) -> None:
    """Stop in groups: none loses a server that it writes to before it has ended itself."""

    def stop(name: str) -> None:
        graceful = processes.stop(servers[name], grace=grace)
        report(name, "stopped" if graceful else "killed")

    for group in order:
        names = [name for name in group if name in servers]
        with ThreadPoolExecutor(max_workers=len(SERVERS)) as pool:
            list(pool.map(stop, names))


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that it too leaves no process behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def unraisable(lost: "sys.UnraisableHookArgs", /) -> None:
        """Python only prints what is raised in a destructor or a weak reference's callback: send it once more."""
        if isinstance(lost.exc_value, KeyboardInterrupt):
            threading.Timer(RESEND_S, os.kill, (os.getpid(), signal.SIGTERM)).start()
        else:
            hook(lost)

    before, hook = signal.signal(signal.SIGTERM, interrupt), sys.unraisablehook
    sys.unraisablehook = unraisable
    try:
        yield
    finally:
        sys.unraisablehook = hook
        signal.signal(signal.SIGTERM, before)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let a second Ctrl-C not interrupt the cleaning up after the first."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if log.exists() else []
    return f"the end of {log}:\n" + "\n".join(f"    {line}" for line in lines)
