"""The workers of a soak: started again whenever they end, as an orchestrator would, and measured meanwhile."""

import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from schemas.generations import FIRST
from stack.folder import LOOPBACK
from tests.soak.schedule import WORKERS

PORT_SETTING = {"enrich": "ENRICH", "report": "SINK", "archive": "ARCHIVE", "watch": "WATCH"}
POLL_S, AGAIN_S, MEASURE_S = 0.2, 1.0, 2.0
METRIC = re.compile(r"^headrace_sink_(folded|written|retries)_total ([\d.e+]+)$", re.MULTILINE)


@dataclass(slots=True, kw_only=True)
class Worker:
    """One worker: its present process, and what its processes have told and used."""

    name: str
    port: int
    process: "subprocess.Popen[bytes]"
    ended: float | None = None
    told: dict[str, int] = field(default_factory=dict)
    memory: list[int] = field(default_factory=list)


class Workers:
    """All workers of a pipeline. `environment` are their settings, `ports` where each serves its metrics."""

    def __init__(self, environment: Mapping[str, str], ports: Mapping[str, int], logs: Path) -> None:
        self._environment, self._logs = environment, logs
        self._stopping = threading.Event()
        self.exits: Counter[tuple[str, int]] = Counter()
        self._sink: Counter[str] = Counter()
        self._workers = {
            name: Worker(name=name, port=ports[name], process=self._start(name, ports[name])) for name in WORKERS
        }
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._keep, self._measure)]
        for thread in self._threads:
            thread.start()

    def process(self, name: str) -> psutil.Process:
        """Return the worker's present process.

        Raises:
            psutil.NoSuchProcess: the worker is between two processes."""
        return psutil.Process(self._workers[name].process.pid)

    def not_ready(self) -> list[str]:
        """Return the workers that don't answer that they are ready."""
        return [each.name for each in self._workers.values() if not _get(each.port, "/readyz")]

    def measure_from_now(self) -> None:
        """Forget the memory that was used until now: while it starts, a worker holds less than it needs."""
        for each in self._workers.values():
            each.memory.clear()

    def sink(self) -> Counter[str]:
        """Return the counts of all processes of the reporting sink: rows folded, rows written, batches retried.

        What a killed process counted in its last two seconds isn't in it.
        """
        return sum((Counter(each.told) for each in self._workers.values()), self._sink)

    def memory(self) -> dict[str, tuple[int, int, int]]:
        """Resident bytes of each worker: first, last and highest."""
        measured = {each.name: each.memory for each in self._workers.values() if each.memory}
        return {name: (found[0], found[-1], max(found)) for name, found in measured.items()}

    def stop(self) -> None:
        """End all workers, gracefully where they do so within twenty seconds."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()
        for each in self._workers.values():
            each.process.send_signal(signal.SIGCONT)
            each.process.terminate()
        for each in self._workers.values():
            try:
                each.process.wait(20)
            except subprocess.TimeoutExpired:
                each.process.kill()
                each.process.wait()

    def _start(self, name: str, port: int) -> "subprocess.Popen[bytes]":
        kind = name.partition("-")[0]
        own = [] if kind == "archive" else ["--generation", str(FIRST)]
        with (self._logs / f"{name}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "operations", "run", kind, *own],
                env={**self._environment, f"HEADRACE_{PORT_SETTING[kind]}__HTTP_PORT": str(port)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def _keep(self) -> None:
        while not self._stopping.wait(POLL_S):
            for each in self._workers.values():
                code = each.process.poll()
                if code is None:
                    continue
                if each.ended is None:
                    each.ended = time.monotonic()
                    self.exits[each.name, code] += 1
                elif time.monotonic() - each.ended > AGAIN_S:
                    self._sink.update(each.told)
                    each.told, each.ended = {}, None
                    each.process = self._start(each.name, each.port)

    def _measure(self) -> None:
        while not self._stopping.wait(MEASURE_S):
            for each in self._workers.values():
                try:
                    each.memory.append(psutil.Process(each.process.pid).memory_info().rss)
                except psutil.NoSuchProcess:
                    continue
                if each.name.startswith("report") and (said := _get(each.port, "/metrics")):
                    each.told = {name: int(float(value)) for name, value in METRIC.findall(said)}


def _get(port: int, path: str) -> str | None:
    """Return the answer of a worker; None for no answer or an error, as it may be stopped at this moment."""
    try:
        answer = httpx.get(f"http://{LOOPBACK}:{port}{path}", timeout=1.0)
    except httpx.HTTPError:
        return None
    return answer.text if answer.is_success else None
