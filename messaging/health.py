"""/healthz, /readyz and /metrics of a worker, on a thread of their own so that a busy loop still answers."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from schemas.errors import HeadraceError

Check = Callable[[], str | None]


class HealthServer:
    """Serves a worker's health on `host:port`; port 0 takes a free one, which `port` then tells.

    `alive` and `ready` return None when all is well, else the reason, which becomes the body of a 503.
    Raises HeadraceError when the port cannot be had.
    """

    def __init__(
        self,
        port: int,
        *,
        alive: Check,
        ready: Check,
        host: str = "127.0.0.1",
        registry: CollectorRegistry = REGISTRY,
    ) -> None:
        try:
            self._server = ThreadingHTTPServer((host, port), _handler(alive, ready, registry))
        except OSError as error:
            raise HeadraceError(
                f"cannot serve health and metrics on {host}:{port}: {error.strerror}; choose a free port (…__HTTP_PORT)"
            ) from None
        self.port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, name="serving", daemon=True).start()

    def close(self) -> None:
        """Stop serving and release the port."""
        self._server.shutdown()
        self._server.server_close()


def _handler(alive: Check, ready: Check, registry: CollectorRegistry) -> type[BaseHTTPRequestHandler]:
    checks = {"/healthz": alive, "/readyz": ready}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, generate_latest(registry), CONTENT_TYPE_LATEST)
            elif path in checks:
                reason = checks[path]()
                self._answer(503 if reason else 200, (reason or "ok").encode() + b"\n", "text/plain; charset=utf-8")
            else:
                self._answer(404, b"try /healthz, /readyz or /metrics\n", "text/plain; charset=utf-8")

        def log_message(self, format: str, *args: object) -> None:
            """Silent: a scrape is no event."""

        def _answer(self, status: int, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
