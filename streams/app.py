"""`run`: one enrichment worker in this process, from plain arguments."""

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from messaging import clients
from messaging.health import HealthServer
from schemas.errors import HeadraceError
from streams.heartbeat import HeartbeatWriter
from streams.log_filter import limit_aiokafka_logs
from streams.wiring import Wiring
from streams.worker import EnrichmentLimits, EnrichmentWorker, faust_app

_LOG = logging.getLogger("headrace.enrich")


def run(  # noqa: PLR0913  # plain arguments: operations alone knows settings
    wiring: Wiring,
    *,
    group: str,
    mongo_uri: str | None,
    mongo_database: str = "catalog",
    http_host: str = "127.0.0.1",
    http_port: int = 0,
    state_dir: Path | None = None,
    limits: EnrichmentLimits | None = None,
) -> None:
    """Enriches until SIGTERM or SIGINT, which finish the batch in hand. Call it in the process's main thread.

    `group` is the consumer group, and Faust's app id. `mongo_uri` None: another process writes the heartbeats.
    Faust keeps nothing in `state_dir` that could not be lost. Raises HeadraceError when the worker cannot go on:
    nothing unfinished is acked then.
    """
    limits = limits or EnrichmentLimits()
    limit_aiokafka_logs()
    _check_topics(wiring)
    with tempfile.TemporaryDirectory(prefix="headrace-enrich-") as folder:
        heartbeat = HeartbeatWriter(mongo_uri, mongo_database) if mongo_uri else None
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # Faust's services use the loop that is set when they are created
        try:
            worker = EnrichmentWorker(wiring, faust_app(wiring, group, limits, state_dir or Path(folder)), limits, loop)
            with _served(worker, http_host, http_port), _running(heartbeat):
                loop.run_until_complete(worker.run())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def _check_topics(wiring: Wiring) -> None:
    """Lines, enriched and pending records stay in one partition: the three topics must have as many."""
    names = (wiring.lines, wiring.enriched, wiring.pending)
    found = [tp.topic for tp in clients.partitions(wiring.bootstrap, names)]
    counts = {name: found.count(name) for name in names}
    if len(set(counts.values())) != 1:
        raise HeadraceError(
            f"expected as many partitions in each of these topics, got {counts}; "
            "see docs/runbook.md#wrong-partition-count"
        )


@contextmanager
def _served(worker: EnrichmentWorker, host: str, port: int) -> Iterator[None]:
    serving = HealthServer(port, alive=worker.alive, ready=worker.ready, host=host)
    _LOG.info("health and metrics on port %d", serving.port)
    try:
        yield
    finally:
        serving.close()


@contextmanager
def _running(heartbeat: HeartbeatWriter | None) -> Iterator[None]:
    if heartbeat is None:
        yield
        return
    heartbeat.start()
    try:
        yield
    finally:
        heartbeat.stop()
