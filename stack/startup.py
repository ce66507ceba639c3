"""One start of the servers: a thread for each, probed until it answers, with other ports where some were taken."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

from stack import processes
from stack.errors import StackError
from stack.folder import Ports, is_free, write_private
from stack.interrupts import undisturbed
from stack.servers import SERVERS, STOP_ORDER, Declarations, Layout, Server, environment

OnEvent = Callable[[str, str, float], None]

READY_DEADLINE_S = 180.0  # a cold start of everything on one slow core
STOP_GRACE_S = 120.0  # Postgres ends with a checkpoint: seconds on an idle disk, half a minute on a busy one
ABANDON_GRACE_S = 2.0  # of servers whose start is abandoned: they have nothing to finish
PROBE_EVERY_S = 0.1
PORT_ATTEMPTS = 5
LOG_TAIL_LINES = 12
NOT_STARTED = "see docs/runbook.md#server-did-not-start"
LOG_KEPT_BYTES = 20_000_000


class _Stopping(Exception):
    """The start was abandoned; a thread that raises this has nothing to report."""


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
        """Return when these servers answer.

        Raises:
            StackError: any server has failed; raised at once."""
        wanted = {self._ready[name] for name in names}
        pending = set(self._ready.values())
        while True:
            done, pending = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in done:
                error = future.exception()
                if error is not None and not isinstance(error, _Stopping):  # it follows from another's error
                    raise error
            if not wanted & pending:
                return

    def environment(self) -> dict[str, str]:
        """Return the settings for `headrace` commands. A server's port is final once `wait_for` has returned."""
        layout = self._layout
        # On a laptop a user is watching: files are published within seconds, not a quarter of an hour.
        archive = {"HEADRACE_ARCHIVE__URL": str(layout.folder.archive), "HEADRACE_ARCHIVE__ROLL_SECONDS": "5"}
        return environment(self._ports.current(), layout.passwords) | archive

    def launch(self) -> None:
        for thread in self._threads:
            thread.start()

    def settle(self) -> None:
        """Return when all servers answer and have each other's final ports; write the settings file.

        The end of the `starting` block does so too.

        Raises:
            StackError: a server has failed.
        """
        self.wait_for(*SERVERS)
        for name in SERVERS:  # one may have been ready before another that it uses had to move
            running = processes.find(self._layout.folder.pid_of(name))
            if running is None or running.fingerprint != self._declare(name).fingerprint():
                self._bring_up(name)
        lines = "".join(f"{key}={value}\n" for key, value in self.environment().items())
        write_private(self._layout.folder.environment, lines)

    def abandon(self) -> None:
        self._stopping.set()
        with undisturbed():
            for thread in self._threads:
                thread.join()
            stop_all(self._started, ABANDON_GRACE_S, self._report)

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
        """Probe until the server answers. Return False if it must be started again with other ports."""
        log = self._layout.folder.log_of(server.name)
        end = time.monotonic() + READY_DEADLINE_S
        while time.monotonic() < end:
            alive = running.process() is not None
            if alive and server.probe() and running.process() is not None:
                return True
            if self._declare(server.name) != server:  # a server that it uses has moved
                processes.stop(running, grace=ABANDON_GRACE_S)
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


def stop_all(
    servers: Mapping[str, processes.Running],
    grace: float,
    report: Callable[[str, str], None],
) -> None:
    """Stop in groups, so that no server loses another one that it writes to."""

    def stop(name: str) -> None:
        graceful = processes.stop(servers[name], grace=grace)
        report(name, "stopped" if graceful else "killed")

    for group in STOP_ORDER:
        names = [name for name in group if name in servers]
        with ThreadPoolExecutor(max_workers=len(SERVERS)) as pool:
            list(pool.map(stop, names))


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:] if log.exists() else []
    return f"the end of {log}:\n" + "\n".join(f"    {line}" for line in lines)
