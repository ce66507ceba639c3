"""`headrace demo` and `up` as a new user runs them: however they end, they leave no process behind."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import psutil
import pytest

from operations import local_workers
from stack import supervisor
from stack.folder import Folder
from tests.support.eventually import eventually

ROOT = Path(__file__).parents[2]
TABLES = ("orders", "order_lines", "payments", "events", "products")
WRONG, INTERRUPTED = 1, 130
COMMAND_S = 600  # a deadline that only a command that hangs exceeds


@dataclass(slots=True)
class Place:
    """A folder in which commands run; `stack` is where their servers live."""

    root: Path
    commands: "list[subprocess.Popen[str]]" = field(default_factory=list)

    @property
    def stack(self) -> Path:
        return self.root / "stack"

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        mine = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        command = subprocess.Popen(
            [sys.executable, "-m", "operations", *arguments],
            cwd=self.root,
            env=mine | {"HEADRACE_STACK_DIR": str(self.stack), "PYTHONPATH": str(ROOT)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.commands.append(command)
        return command

    def run(self, *arguments: str, **environment: str) -> tuple[int, str]:
        command = self.start(*arguments, **environment)
        said, _ = command.communicate(timeout=COMMAND_S)
        assert "Traceback" not in said, said
        return command.returncode, said

    def worker(self, name: str) -> psutil.Process:
        return psutil.Process(orjson.loads(Folder(self.stack).pid_of(name).read_bytes())["pid"])

    def left(self) -> list[str]:
        """Return every process that uses this folder, except for the commands that were started here."""
        found = []
        for process in psutil.process_iter():
            try:
                told = [*process.cmdline(), process.cwd(), *process.environ().values()]
                zombie = process.status() == psutil.STATUS_ZOMBIE
            except (psutil.Error, OSError):
                continue
            mine = process.pid in (os.getpid(), *(command.pid for command in self.commands))
            if not mine and not zombie and any(str(self.stack) in text for text in told):
                found.append(" ".join(process.cmdline()[:4]))
        return found


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(root=tmp_path)
    try:
        yield place
    finally:
        for command in place.commands:
            with command:
                command.kill()
        local_workers.stop_workers(place.stack)
        supervisor.down(place.stack, wipe=True)


def read_until(command: "subprocess.Popen[str]", beginning: str) -> str:
    """Return what the command prints up to the text line with this beginning."""
    said = ""
    assert command.stdout is not None
    for line in command.stdout:
        said += line
        if line.startswith(beginning):
            return said
    raise AssertionError(f"no line begins with {beginning!r}:\n{said}")


def ends(command: "subprocess.Popen[str]") -> str:
    said, _ = command.communicate(timeout=COMMAND_S)
    assert "Traceback" not in said, said
    return said


def test_a_demo_proves_every_table_and_leaves_nothing_behind(place: Place) -> None:
    code, said = place.run("demo", "--orders", "60")
    assert code == 0, said
    for table in TABLES:
        assert any(line.split()[:1] == [table] and line.endswith("equal") for line in said.splitlines()), said
    assert "enriched, 0 waiting" in said
    assert "read back from the archive: OrderPlaced" in said
    assert place.left() == []
    assert not place.stack.exists()


def test_a_demo_terminated_while_it_starts_leaves_nothing_behind(place: Place) -> None:
    demo = place.start("demo")
    eventually(lambda: Folder(place.stack).pid_of("report").exists())
    demo.terminate()
    said = ends(demo)
    assert demo.returncode == INTERRUPTED, said
    assert place.left() == []
    assert not place.stack.exists()


def test_an_interrupted_demo_cleans_up_whatever_interrupts_that(place: Place) -> None:
    demo = place.start("demo")
    read_until(demo, "[3/5]")
    worker = place.worker("enrich")
    demo.send_signal(signal.SIGINT)
    eventually(lambda: not worker.is_running())
    demo.send_signal(signal.SIGINT)
    said = ends(demo)
    assert demo.returncode == INTERRUPTED, said
    assert place.left() == []
    assert not place.stack.exists()


def test_a_demo_whose_worker_dies_says_so_at_once_and_keeps_the_logs(place: Place) -> None:
    demo = place.start("demo")
    read_until(demo, "[3/5]")
    place.worker("report").kill()
    said = ends(demo)
    assert demo.returncode == WRONG, said
    assert "worker report has ended" in said
    assert "down --wipe" in said
    assert Folder(place.stack).log_of("report").exists()
    assert place.left() == []


def test_an_interrupted_up_leaves_nothing_running(place: Place) -> None:
    up = place.start("up")
    eventually(lambda: Folder(place.stack).pid_of("report").exists())
    up.terminate()
    said = ends(up)
    assert up.returncode == INTERRUPTED, said
    assert place.left() == []


def test_an_up_that_fails_stops_its_own(place: Place) -> None:
    code, said = place.run("up", HEADRACE_SINK__BATCH="0")
    assert (code, place.left()) == (WRONG, []), said
