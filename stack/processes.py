"""Server processes that outlive the command that starts them, found again by pid file.

Pids are reused, so that the file also holds the process's start time.
"""

import json
import pwd
import subprocess
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from stack.folder import write_private
from stack.interrupts import interrupts_deferred
from stack.servers import Server

# The system's boot time, to which start times are relative, moves a little when the clock is set.
START_TIME_TOLERANCE_S = 3.0
KILL_S = 10.0
POLL_S = 0.02

# The children of this interpreter. Kept, so that their exit codes can be collected: an uncollected
# child is a zombie, which looks alive to others.
_children: dict[int, "subprocess.Popen[bytes]"] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server's process. `fingerprint` is that of the declaration it was started from."""

    pid: int
    started: float
    fingerprint: str
    stop_signal: int

    def process(self) -> psutil.Process | None:
        """Return the live process, or None if it has ended, even when another process has its pid now."""
        child = _children.get(self.pid)
        if child is not None:
            child.poll()
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < START_TIME_TOLERANCE_S
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


def start(server: Server, *, log: Path, pid_file: Path) -> Running:
    """Start a server and write its pid file. An interrupt waits until both are done, so no process is unknown."""
    user = server.user
    with interrupts_deferred(), log.open("ab") as output:
        child = subprocess.Popen(
            server.command,
            env=dict(server.env),
            cwd=server.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            group=pwd.getpwnam(user).pw_gid if user else None,
            extra_groups=[] if user else None,
        )
        _children[child.pid] = child
        try:
            started = psutil.Process(child.pid).create_time()
        except psutil.NoSuchProcess:
            started = 0.0
        running = Running(
            pid=child.pid, started=started, fingerprint=server.fingerprint(), stop_signal=server.stop_signal
        )
        write_private(pid_file, json.dumps(asdict(running)))
    return running


def find(pid_file: Path) -> Running | None:
    """Return the process of a pid file; None if it has ended."""
    try:
        running = Running(**json.loads(pid_file.read_text()))
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return running if running.process() else None


def stop(running: Running, *, grace: float) -> bool:
    """Ask a server to end; after `grace` seconds kill it with its children. False if it was killed."""
    process = running.process()
    if process is None:
        return True
    try:
        family = [process, *process.children(recursive=True)]
        process.send_signal(running.stop_signal)
        if _have_ended([process], within=grace):
            return True
        for member in family:
            member.kill()
        _have_ended(family, within=KILL_S)
        return False
    except psutil.NoSuchProcess:
        return True
    finally:
        child = _children.pop(running.pid, None)
        if child is not None:
            child.wait()


def _have_ended(family: Sequence[psutil.Process], *, within: float) -> bool:
    """Return whether all end within so many seconds. A zombie has ended: init may collect it seconds later."""
    deadline = time.monotonic() + within
    while any(map(_is_alive, family)):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def memory(process: psutil.Process) -> int:
    """Return the memory of a server and its children in bytes; shared memory counts once where the system can tell."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += getattr(member.memory_full_info(), "pss", 0) or member.memory_info().rss
        except psutil.Error:
            continue
    return total
