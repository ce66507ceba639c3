"""The state folder of one stack: the paths in it, the ports, the passwords, and its lock.

All that must survive between `up` and `down` is in this folder, so that two stacks on one machine (a user's and a
test's) share only the cache of jars.
"""

import fcntl
import json
import os
import random
import secrets
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError
from stack.java import cache

MARKER = ".headrace-stack"
LOOPBACK = "127.0.0.1"

# Below the ports that Linux (32768) and macOS (49152) hand out to outgoing connections: one of those
# may be borrowed by any client while a server of ours is being restarted.
PORTS = range(20_000, 32_000)
RESERVED_S = 60.0  # from the choice of a port until its server listens

PORT_NAMES = ("postgres", "kafka", "kafka_controller", "registry", "registry_management", "catalog", "connect")

# One password for each role that logs in; the roles themselves are made by the migrations, but for
# the first four, which have to exist before a migration can run.
PASSWORD_NAMES = (
    "postgres",
    "migrator",
    "reporting_migrator",
    "registry",
    "cdc_reader",
    "app_writer",
    "reporter_reader",
    "retention",
    "reporting_writer",
    "reporting_reader",
    "reporting_retention",
)


@dataclass(frozen=True, slots=True)
class Folder:
    """Names of the files in a state folder. Opens nothing."""

    root: Path

    @property
    def marker(self) -> Path:
        return self.root / MARKER

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def config(self) -> Path:
        return self.root / "config"

    @property
    def kafka(self) -> Path:
        return self.root / "kafka"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    @property
    def ports(self) -> Path:
        return self.root / "ports.json"

    @property
    def passwords(self) -> Path:
        return self.root / "passwords.json"

    @property
    def environment(self) -> Path:
        return self.root / "headrace.env"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def postgres_elsewhere(self) -> Path:
        """Return Postgres' folder for a user that cannot enter the state folder."""
        base = Path("/var/tmp")  # noqa: S108 (not /tmp, which a reboot empties; the folder is 0700)
        return (base if base.is_dir() else Path(tempfile.gettempdir())) / f"headrace-{self.identity()}"

    def log_of(self, server: str) -> Path:
        return self.logs / f"{server}.log"

    def pid_of(self, server: str) -> Path:
        return self.run / f"{server}.json"

    def create(self) -> None:
        """Make the folder; refuse one that holds other files, as `--wipe` deletes all of it."""
        if self.root.is_dir() and any(self.root.iterdir()) and not self.marker.exists():
            raise StackError(
                f"{self.root} is not empty and was not made by `headrace up`; "
                "set HEADRACE_STACK_DIR to an empty or a new folder; see docs/runbook.md#stack-folder-refused"
            )
        for path in (self.root, self.logs, self.run, self.config):
            path.mkdir(parents=True, exist_ok=True)
        if not self.marker.exists():
            # 22 letters are the 16 bytes that Kafka wants; one that begins with "-" would look like an option
            write_private(self.marker, secrets.token_urlsafe(16).replace("-", "_"))

    def identity(self) -> str:
        """Return this stack's name, in the form of a Kafka cluster's id. It stays when the folder is moved."""
        return self.marker.read_text()

    def wipe(self) -> None:
        """Delete all data, passwords and logs of this stack. The jars, shared by all stacks, stay."""
        if self.postgres_elsewhere.exists():
            shutil.rmtree(self.postgres_elsewhere)
        shutil.rmtree(self.root)

    @contextmanager
    def locked(self, deadline: float = 180.0) -> Iterator[None]:
        """Hold the folder: one `up` or `down` at a time. Waits `deadline` seconds for another one."""
        end = time.monotonic() + deadline
        with self.lock.open("w") as file:
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        raise StackError(
                            f"another `headrace up` or `down` has been at work on {self.root} for "
                            f"{deadline:.0f} s; wait for it, or end it, then try again; "
                            "see docs/runbook.md#stack-folder-refused"
                        ) from None
                    time.sleep(0.1)
            yield


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    beside.replace(path)


def load_passwords(folder: Folder) -> dict[str, str]:
    """Return the stack's passwords; those that are missing are generated and stored."""
    known: dict[str, str] = json.loads(folder.passwords.read_text()) if folder.passwords.exists() else {}
    missing = [name for name in PASSWORD_NAMES if name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(24) for name in missing}
        write_private(folder.passwords, json.dumps(known, indent=1) + "\n")
    return known


class Ports:
    """The loopback port of each server. Kept between runs, so that a written headrace.env stays right."""

    def __init__(self, folder: Folder) -> None:
        self._path = folder.ports
        self._ports: dict[str, int] = json.loads(self._path.read_text()) if self._path.exists() else {}
        self.replace([name for name in PORT_NAMES if name not in self._ports])

    def current(self) -> Mapping[str, int]:
        return dict(self._ports)

    def replace(self, names: list[str]) -> None:
        """Give new free ports to `names`: another program was faster than our server."""
        if names:
            ports = dict(self._ports)
            for name in names:
                ports[name] = free_port(taken=set(ports.values()))
            write_private(self._path, json.dumps(ports, indent=1) + "\n")
            self._ports = ports


def free_port(taken: set[int]) -> int:
    """Return a loopback port on which no program listens at this moment and that is not among `taken`.

    Nor has any process of this user got it within the last minute: a server may be about to listen on it.
    """
    for _ in range(1000):
        port = random.choice(PORTS)  # noqa: S311 (not a secret)
        if port not in taken and is_free(port) and _reserved(port):
            return port
    raise StackError(f"no free port on {LOOPBACK} between {PORTS.start} and {PORTS.stop}")


def _reserved(port: int) -> bool:
    """Reserve a port by a file in the cache folder that all stacks share; False if it is reserved already."""
    file = cache() / "ports" / str(port)
    try:
        if time.time() - file.stat().st_mtime < RESERVED_S:
            return False
    except FileNotFoundError:
        file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    return True


def is_free(port: int) -> bool:
    """Return whether a server could listen on this loopback port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True
