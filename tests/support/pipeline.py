"""The whole pipeline as its users run it: through the `headrace` command alone."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg

from messaging import clients, ranges
from schemas.failpoints import FailPoint

ROOT = Path(__file__).parents[2]
PACKAGES = ("connectors", "messaging", "migrations", "operations", "schemas", "shop", "sinks", "stack", "streams")
COMMAND_S = 600  # a deadline that only a command that hangs exceeds


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnPipeline:
    """A pipeline in `folder`: a copy of the project's packages, and a stack."""

    folder: Path

    @property
    def stack(self) -> Path:
        return self.folder / ".headrace"

    def start(self, *arguments: str, module: str = "operations", **environment: str) -> "subprocess.Popen[str]":
        mine = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
        return subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=self.folder,
            env=mine | {"HEADRACE_STACK_DIR": str(self.stack), "PYTHONPATH": str(self.folder)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def dies(self, point: FailPoint, times: int, *arguments: str) -> None:
        """Run a command that kills itself when it reaches `point` for the `times`-th time."""
        ours = f"{self.folder}{os.pathsep}{ROOT}"
        process = self.start(point.name, str(times), *arguments, module="tests.support.dying", PYTHONPATH=ours)
        out, err = process.communicate(timeout=COMMAND_S)
        assert process.returncode == -signal.SIGKILL, f"not at {point.name}: {process.returncode}\n{out}\n{err}"

    def run(self, *arguments: str, expect: int = 0, **environment: str) -> str:
        process = self.start(*arguments, **environment)
        try:
            out, err = process.communicate(timeout=COMMAND_S)
        finally:
            process.kill()
        assert process.returncode == expect, f"headrace {' '.join(arguments)} → {process.returncode}\n{out}\n{err}"
        assert "Traceback" not in out + err
        return out + err

    @contextmanager
    def busy(self, *arguments: str) -> Iterator[None]:
        """Run a command for as long as the block lasts; it must not end by itself."""
        process = self.start(*arguments)
        try:
            yield
            assert process.poll() is None, process.communicate()
        finally:
            process.terminate()
            process.communicate(timeout=COMMAND_S)

    def verify(self, expect: int = 0) -> dict:
        out = self.run("verify", "--json", expect=expect)
        return orjson.loads(out[out.index("{") :])

    def worker(self, name: str) -> psutil.Process:
        return psutil.Process(orjson.loads((self.stack / "run" / f"{name}.json").read_bytes())["pid"])

    @property
    def bootstrap(self) -> str:
        return self.settings()["HEADRACE_KAFKA__BOOTSTRAP"]

    def ends(self, topic: str) -> dict[tuple[str, int], int]:
        return clients.end_offsets(self.bootstrap, [topic])

    def sent_again(self, topic: str, since: Mapping[tuple[str, int], int]) -> bytes:
        """Send the first of a key's records since these offsets once more, as a paused task does that is resumed.

        Of the key with the most records since then, as of two records one may be a repeat of the other. Earlier records
        don't count: a row that was deleted from reporting and read again has no log position that refuses a late one.

        Returns:
            The record's key.
        """
        found: dict[bytes | None, list[Any]] = {}
        for message in ranges.records(self.bootstrap, {at: (since[at], end) for at, end in self.ends(topic).items()}):
            if message.value() is not None:
                found.setdefault(message.key(), []).append(message)
        key, messages = max(found.items(), key=lambda each: len(each[1]))
        assert key is not None and len(messages) > 1, topic
        producer, older = clients.producer(self.bootstrap), messages[0]
        producer.produce(topic, key=key, value=older.value(), headers=older.headers(), partition=older.partition())
        assert producer.flush(30) == 0
        return key

    def settings(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in (self.stack / "headrace.env").read_text().splitlines())

    def psql(self, database: str, role: str, password: str) -> psycopg.Connection[Any]:
        known = self.settings()
        return psycopg.connect(
            host="127.0.0.1",
            port=known["HEADRACE_OLTP__PORT"],
            dbname=database,
            user=role,
            password=known[password],
            autocommit=True,
        )


@contextmanager
def own_copy(folder: Path) -> Iterator[OwnPipeline]:
    """Copy the project's packages, so that docs/your-tables.md can be followed to the letter; nothing runs yet.

    At the end, the pipeline is stopped and deleted.
    """
    pipeline = OwnPipeline(folder=folder)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package)
    try:
        yield pipeline
    finally:
        stopped = pipeline.run("down", "--wipe")
    assert "killed" not in stopped
