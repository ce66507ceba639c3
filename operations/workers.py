"""`headrace run`: one worker in this process, wired from the settings."""

import logging
import signal
import sys

import structlog

from operations import connections
from operations.settings import Settings


def run(worker: str, settings: Settings) -> None:
    """Run `enrich` or `report` until SIGTERM or SIGINT. Raises HeadraceError when it can't go on."""
    log_as_lines()
    {"enrich": enrich, "report": report}[worker](settings)


def report(settings: Settings) -> None:
    """The reporting sink."""
    from kafka import clients
    from kafka.dead_letters import DeadLetters
    from kafka.decoding import Decoding
    from kafka.registry import Registry
    from sinks.worker import Pace, SinkWorker

    bootstrap = settings.kafka.bootstrap
    sink = SinkWorker(
        bootstrap=bootstrap,
        group=settings.sink.group,
        reporting=connections.landing(settings),
        decoding=Decoding(Registry(settings.registry.url)),
        dead_letters=DeadLetters(clients.producer(bootstrap), "report"),
        pace=Pace(batch=settings.sink.batch, linger=settings.sink.linger_ms / 1000),
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sink.stop())
    sink.run(settings.sink.http_port)


def enrich(settings: Settings) -> None:
    """The Faust app."""
    from streams import app
    from streams.wiring import Wiring

    app.run(
        Wiring(bootstrap=settings.kafka.bootstrap, registry_url=settings.registry.url),
        group=settings.enrich.group,
        mongo_uri=connections.catalog_uri(settings),
        mongo_database=settings.catalog.database,
        http_port=settings.enrich.http_port,
        state_dir=settings.enrich.state_dir,
    )


def log_as_lines() -> None:
    """One line an event on stderr: readable on a terminal, JSON elsewhere."""
    renderer = structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
