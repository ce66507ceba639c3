"""Run one enrichment worker in this process, from plain arguments."""

import asyncio
import logging
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from messaging import clients
from messaging.scratch import scratch_folder
from messaging.service import serving
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
    """Enrich until SIGTERM or SIGINT, which finish the current batch. Call it in the process's main thread.

    `group` is the consumer group, and Faust's app id. With `mongo_uri` None, another process writes the heartbeats.
    Faust's files are in a folder below `state_dir`, or below the system's temporary folder where that is None. Nothing
    in it is needed after the process ends: it is deleted, and so are folders that killed workers left there.

    Raises:
        HeadraceError: The worker can't go on. Nothing unfinished is acked.
    """
    limits = limits or EnrichmentLimits()
    limit_aiokafka_logs()
    _check_topics(wiring)
    with _folder(state_dir) as folder:
        heartbeat = HeartbeatWriter(mongo_uri, mongo_database) if mongo_uri else None
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)  # Faust's services use the loop that is set when they are created
        try:
            worker = EnrichmentWorker(wiring, faust_app(wiring, group, limits, folder), limits, loop)
            with serving(worker.alive, worker.ready, http_port, http_host) as port, _running(heartbeat):
                _LOG.info("health and metrics on port %d", port)
                loop.run_until_complete(worker.run())
        finally:
            asyncio.set_event_loop(None)
            loop.close()


@contextmanager
def _folder(parent: Path | None) -> Iterator[Path]:
    parent = parent or Path(tempfile.gettempdir())
    with ExitStack() as closing:
        try:
            folder = closing.enter_context(scratch_folder(parent, "headrace-enrich-"))
        except OSError as error:
            raise HeadraceError(
                f"cannot write below {parent}: {error.strerror}; set HEADRACE_ENRICH__STATE_DIR to a writable folder"
            ) from None
        yield folder


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
def _running(heartbeat: HeartbeatWriter | None) -> Iterator[None]:
    if heartbeat is None:
        yield
        return
    heartbeat.start()
    try:
        yield
    finally:
        heartbeat.stop()
