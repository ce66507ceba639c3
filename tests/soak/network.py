"""The network between the workers and their servers: toxiproxy, whose links can be slowed, cut, reset and stalled."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx

from stack.folder import LOOPBACK
from tests.soak.schedule import Kind
from tests.support.eventually import eventually

ANSWER_S = 60.0  # it answers once every connection has taken the change

TOXICS: dict[Kind, tuple[str, dict[str, int]]] = {
    Kind.LATENCY: ("latency", {"latency": 400, "jitter": 300}),  # milliseconds
    Kind.THROTTLE: ("bandwidth", {"rate": 32}),  # KB a second
    Kind.RESET: ("reset_peer", {"timeout": 0}),
    Kind.STALL: ("timeout", {"timeout": 0}),  # 0: the connection is never closed
}


class Network:
    """A running toxiproxy. Each link is a port on loopback that leads to a server's port."""

    def __init__(self, program: Path, port: int, log: Path) -> None:
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [program, "-host", LOOPBACK, "-port", str(port)],
                env={"LOG_LEVEL": "warn"},  # by default a line for each write
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._url = f"http://{LOOPBACK}:{port}"
        with ExitStack() as started:
            started.callback(self.close)
            eventually(self._answers, explain=log.read_text)
            started.pop_all()

    def link(self, name: str, *, port: int, to: int) -> None:
        """Let `port` lead to the port `to`."""
        self._ask("/proxies", {"name": name, "listen": f"{LOOPBACK}:{port}", "upstream": f"{LOOPBACK}:{to}"})

    def harm(self, link: str, kind: Kind, seconds: float) -> None:
        """Do `kind` to a link for so long."""
        with self._harmed(link, kind):
            time.sleep(seconds)

    @contextmanager
    def _harmed(self, link: str, kind: Kind) -> Iterator[None]:
        if kind is Kind.CUT:
            self._ask(f"/proxies/{link}", {"enabled": False})
            try:
                yield
            finally:
                self._ask(f"/proxies/{link}", {"enabled": True})
            return
        name, attributes = TOXICS[kind]
        for stream in ("upstream", "downstream"):
            toxic = {"name": f"{name}-{stream}", "type": name, "stream": stream, "attributes": attributes}
            self._ask(f"/proxies/{link}/toxics", toxic)
        try:
            yield
        finally:
            for stream in ("upstream", "downstream"):
                path = f"{self._url}/proxies/{link}/toxics/{name}-{stream}"
                httpx.delete(path, timeout=ANSWER_S).raise_for_status()

    def close(self) -> None:
        """End the proxy."""
        self._process.terminate()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self._url}/version").is_success
        except httpx.TransportError:
            return False

    def _ask(self, path: str, body: dict[str, Any]) -> None:
        httpx.post(self._url + path, json=body, timeout=ANSWER_S).raise_for_status()
