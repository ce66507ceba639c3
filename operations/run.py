"""Build one worker from the settings and run it in this process, for `headrace run`."""

import logging
import sys
from pathlib import Path

import structlog

from messaging.service import stop_on_signals
from operations import connections
from operations.settings import Settings, stack_dir
from schemas import generations
from schemas.tables import of_generation, reported


def run(worker: str, settings: Settings) -> None:
    """Run a worker until SIGTERM or SIGINT. Raises HeadraceError when it can't go on."""
    log_as_lines()
    {"enrich": enrich, "report": report, "archive": archive, "watch": watch}[worker](settings)


def report(settings: Settings) -> None:
    """Run the reporting sink."""
    from messaging import clients
    from messaging.dead_letters import DeadLetters
    from messaging.decoding import Decoding
    from messaging.registry import Registry
    from sinks.reporting.worker import SinkLimits, SinkWorker

    bootstrap, generation = settings.kafka.bootstrap, settings.reporting.generation
    fed, tables = connections.active_generation(settings), of_generation(generation)
    sink = SinkWorker(
        bootstrap=bootstrap,
        group=generations.group(settings.sink.group, generation),
        reporting=connections.landing(settings),
        decoding=Decoding(Registry(settings.registry.url), tables),
        dead_letters=DeadLetters(clients.producer(bootstrap), "report"),
        tables=reported(tables),
        epoch=fed.epoch,
        pace=SinkLimits(
            batch=settings.sink.batch, linger=settings.sink.linger_ms / 1000, rate=settings.reporting.max_rate
        ),
    )
    stop_on_signals(sink.stop)
    sink.run(settings.sink.http_port, settings.sink.http_host)


def archive(settings: Settings) -> None:
    """Run the archive worker."""
    from messaging import clients
    from messaging.dead_letters import DeadLetters
    from messaging.decoding import Decoding
    from messaging.registry import Registry
    from sinks.archive.batch import spooling
    from sinks.archive.worker import ArchiveWorker, Rolling

    at, bootstrap = settings.archive, settings.kafka.bootstrap
    log = connections.archive(settings, "archive worker")
    with spooling(log.store, at.spool) as spool:
        worker = ArchiveWorker(
            bootstrap=bootstrap,
            group=at.group,
            log=log,
            spool=spool,
            decoding=Decoding(Registry(settings.registry.url)),
            dead_letters=DeadLetters(clients.producer(bootstrap), "archive"),
            rolling=Rolling(size=at.roll_bytes, age=at.roll_seconds, codec=at.codec),
        )
        stop_on_signals(worker.stop)
        worker.run(at.http_port, at.http_host)


def enrich(settings: Settings) -> None:
    """Run the enrichment worker."""
    from streams import app
    from streams.wiring import Wiring
    from streams.worker import EnrichmentLimits

    generation = settings.reporting.generation
    app.run(
        Wiring.of_generation(generation, settings.kafka.bootstrap, settings.registry.url),
        group=generations.group(settings.enrich.group, generation),
        mongo_uri=connections.catalog_uri(settings),
        mongo_database=settings.catalog.database,
        http_host=settings.enrich.http_host,
        http_port=settings.enrich.http_port,
        state_dir=settings.enrich.state_dir or _state_dir_of_the_stack(),
        limits=EnrichmentLimits(rate=settings.reporting.max_rate),
    )


def _state_dir_of_the_stack() -> Path | None:
    """Return a folder below that of the stack, or None where there is no stack, as in a container."""
    folder = stack_dir()
    return folder / "enrich" if folder.is_dir() else None


def watch(settings: Settings) -> None:
    """Run the worker that measures freshness, checks the source's history, and counts open dead letters."""
    from connectors.connect import Connect
    from connectors.pipeline import Pipeline
    from operations.dlq.metrics import update_open_gauge
    from operations.probe import connect_probe
    from operations.watch.connectors import Connectors
    from operations.watch.worker import WatchWorker

    pipeline = Pipeline()
    worker = WatchWorker(
        connect=lambda: connect_probe(settings, settings.reporting.generation),
        connectors=Connectors(
            Connect(settings.connect.url), [pipeline.connector(source) for source in pipeline.sources]
        ),
        generation=connections.active_generation(settings),
        replication=connections.oltp_conninfo(settings, "cdc_reader"),
        every=settings.watch.seconds,
    )
    stop_on_signals(worker.stop)
    with update_open_gauge(settings.kafka.bootstrap):
        worker.run(settings.watch.http_port, settings.watch.http_host)


def log_as_lines() -> None:
    """Log each event of this product and of its libraries as one line on stderr: text on a terminal, else JSON."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    for ours in ("headrace", "sink", "archive", "watch"):
        logging.getLogger(ours).setLevel(logging.INFO)
