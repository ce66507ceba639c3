"""Topics of their own and workers as processes: what the enrichment tests on real Kafka share."""

import re
import signal
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka.admin import NewTopic

from messaging import clients
from schemas import generations
from streams.wiring import Wiring
from tests.support.enrich_worker import command
from tests.support.enrichment_world import PARTITIONS, World
from tests.support.eventually import DEADLINE_S, pause_after

ROOT = Path(__file__).parents[2]


class Worker:
    """One enrichment worker process."""

    def __init__(self, wiring: Wiring, group: str, **options: Any) -> None:
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed by `close`
        limits = {"session": 6.0} | options
        self.process = subprocess.Popen(command(wiring, group, **limits), cwd=ROOT, stderr=self._log, stdout=self._log)

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of one of the worker's own pages; (0, why) before it serves."""
        port = re.search(r"health and metrics on port (\d+)", self.log())
        if port is None:
            return 0, "not serving yet"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port[1]}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM; the exit code, with the log where it is not 0."""
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(60)
        assert code == 0, self.log()
        return code

    def close(self) -> None:
        if self.process.poll() is None:
            self.kill()
        self._log.close()


class Field(World):
    """A World with workers in it."""

    def __init__(self, settings: Any, **options: Any) -> None:
        super().__init__(settings.kafka.bootstrap, settings.registry.url, **options)
        self.workers: list[Worker] = []

    def start(self, **options: Any) -> Worker:
        worker = Worker(self.wiring, self.group, **options)
        self.workers.append(worker)
        return worker

    @contextmanager
    def another_generation(self) -> Iterator[Wiring]:
        """A worker on the same lines and catalog that writes topics of its own, as a rebuild's does."""
        own = {name: generations.topic(getattr(self.wiring, name), 2) for name in ("enriched", "pending")}
        topics = [NewTopic(name, PARTITIONS, 1) for name in own.values()]
        for future in clients.admin(self.wiring.bootstrap).create_topics(topics).values():
            future.result(20)
        wiring = replace(self.wiring, **own)
        worker = Worker(wiring, generations.group(self.group, 2))
        self.workers.append(worker)
        yield wiring
        worker.close()
        for future in clients.admin(self.wiring.bootstrap).delete_topics(list(own.values())).values():
            future.result(20)

    def eventually(self, check: Callable[[], Any], deadline_s: float = DEADLINE_S, *, pause_s: float = 0.1) -> Any:
        """Return the first true result of `check`, or fail with the last value and the workers' last lines."""
        began = time.monotonic()
        end = began + deadline_s
        while not (value := check()):
            now = time.monotonic()
            if now > end:
                logs = "\n".join(f"worker {number}: {w.log()[-3000:]}" for number, w in enumerate(self.workers))
                raise AssertionError(f"not within {deadline_s:.0f} s; last seen: {value!r}\n{logs}")
            time.sleep(pause_after(now - began, pause_s) if pause_s else 0)
            began = time.monotonic()
        return value

    def sent(self) -> int:
        """Return the number of records in the enriched topic."""
        return sum(clients.end_offsets(self.wiring.bootstrap, [self.wiring.enriched]).values())

    def statuses(self) -> dict[str, str | None]:
        """By order: the status that its line has landed with; None for a delete."""
        found = self.landed().newest
        return {key[2]: None if change.row is None else change.row[-1] for key, change in found.items()}

    def has(self, **statuses: str | None) -> Callable[[], bool]:
        """A check: these orders have landed with these statuses."""
        return lambda: statuses.items() <= self.statuses().items()

    def columns(self, order: str) -> dict[str, Any]:
        """The newest row of an order's line."""
        landed = self.landed()
        (key,) = [key for key in landed.newest if key[2] == order]
        row = landed.row(key)
        assert row is not None
        return row


class Gate:
    """A way to the schema registry that can be shut: forwards HTTP until the block ends."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream

    def __enter__(self) -> "Gate":
        upstream = self._upstream

        class Forward(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._forward()

            def do_POST(self) -> None:
                self._forward()

            def _forward(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                kind = {"Content-Type": self.headers.get("Content-Type", "application/json")}
                answer = httpx.request(self.command, upstream + self.path, content=body, headers=kind, timeout=10)
                self.send_response(answer.status_code)
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Forward)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def enriching(settings: Any, **options: Any) -> Iterator[Field]:
    """A Field that is taken down at the end, workers first."""
    field = Field(settings, **options)
    try:
        yield field
    finally:
        for worker in field.workers:
            worker.close()
        field.close()
