"""Open the targets of a redrive on the servers in the settings, each when it is first used."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache

from messaging import clients
from messaging.dead_letters import DeadLetters, Record
from messaging.decoding import Decoding
from messaging.delivery import ConfirmedProducer
from messaging.registry import Registry
from operations import connections
from operations.dlq.decisions import Verdict
from operations.dlq.redrive import Destination, RedriveOutcome, RedriveTargets
from operations.settings import Settings
from schemas.change import Change
from schemas.decoders import mongo
from schemas.errors import Unavailable
from schemas.tables import PRICE_HISTORY, of_generation
from sinks.archive.backfill import archive_event
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.log import Log, Superseded
from sinks.reporting.retrying import RetryingReporting
from streams.catalog import Catalog
from streams.catalog_reader import CatalogReader, entry_reader
from streams.enrich import Enrich, Enriched, enricher
from streams.wiring import Wiring

PATIENCE_S = 60.0  # seconds to wait for a reporting database that does not answer
CATALOG_S = 120.0  # seconds without a record before reading the catalog fails
TRIES = 20  # to commit an entry: each refusal means that another writer's entry came first


@contextmanager
def open_targets(settings: Settings) -> Iterator[RedriveTargets]:
    """Open all targets, for one thread; they are closed at the end of the block.

    Raises:
        HeadraceError: reporting refuses the login.
        Unavailable: a server does not answer.
    """
    with ExitStack() as closing:
        registry = Registry(settings.registry.url)
        closing.callback(registry.close)
        found = destinations(settings)
        for each in found:
            closing.callback(each.reporting.close)
        decoding = Decoding(registry, [table for each in found for table in each.tables])

        yield RedriveTargets(
            decoding=decoding,
            destinations=found,
            enrich=_enrichment(settings, closing),
            archive=_archive(settings, closing),
            republish_catalog_entry=lambda record: republish_catalog_entry(settings.kafka.bootstrap, decoding, record),
        )


def _enrichment(settings: Settings, closing: ExitStack) -> Callable[[Change], Enriched]:
    """Return a function that enriches a change; its first call reads the catalog, which `closing` closes."""

    @cache
    def opened() -> tuple[Enrich, Catalog]:
        wiring = Wiring(bootstrap=settings.kafka.bootstrap, registry_url=settings.registry.url)
        return enricher(wiring.table), closing.enter_context(read_catalog(wiring))

    def enrich(change: Change) -> Enriched:
        enrich, catalog = opened()
        return enrich(change, catalog)

    return enrich


def _archive(settings: Settings, closing: ExitStack) -> Callable[[Change], RedriveOutcome]:
    """Return a function that archives an event; its first call opens the archive, which `closing` closes."""

    @cache
    def opened() -> tuple[Log, ArchiveBatch]:
        log = connections.archive(settings, "dlq redrive")
        spool = closing.enter_context(spooling(log.store, settings.archive.spool))
        return log, ArchiveBatch(spool, settings.archive.codec)

    return lambda change: redrive_to_archive(*opened(), change)


def destinations(settings: Settings) -> list[Destination]:
    """Return every generation of reporting that workers feed, after trying the logins."""
    return [
        Destination(
            number=each.number,
            epoch=each.epoch,
            tables=of_generation(each.number),
            reporting=RetryingReporting(connections.landing(settings.of_generation(each.number)), PATIENCE_S),
        )
        for each in connections.active_generations(settings)
    ]


@contextmanager
def read_catalog(wiring: Wiring) -> Iterator[Catalog]:
    """Read the catalog to its end, and follow it while the block runs.

    Raises Unavailable where no record arrives for CATALOG_S seconds before the end is reached.
    """
    loaded = Catalog()

    def letters() -> DeadLetters:
        return DeadLetters(clients.producer(wiring.bootstrap), "enrich", topic=wiring.dead_letters)

    reader = CatalogReader(loaded, wiring, Registry(wiring.registry_url), letters)
    reader.start()
    try:
        while not reader.loaded.wait(0.05):
            if reader.failure is not None:
                raise reader.failure
            if time.monotonic() - reader.progress_at > CATALOG_S:
                raise Unavailable(f"no record of {wiring.catalog} arrived for {CATALOG_S:.0f} s")
        yield loaded
    finally:
        reader.stop()


def redrive_to_archive(log: Log, batch: ArchiveBatch, change: Change) -> RedriveOutcome:
    """Archive an event, unless the archive holds it or has erased it."""
    names = [column.name for column in change.table.columns]
    row = dict(zip(names, change.row or (), strict=True))
    for _ in range(TRIES):
        try:
            archived = archive_event(log, change.table, row, batch)
        except Superseded:
            continue
        if archived:
            return RedriveOutcome(verdict=Verdict.LANDED, detail="it is in the archive")
        return RedriveOutcome(verdict=Verdict.AGED_OUT, detail="the archive has erased it")
    raise Unavailable(
        f"other writers change the archive too often: {TRIES} entries were refused in a row; run it again"
    )


def republish_catalog_entry(bootstrap: str, decoding: Decoding, record: Record) -> RedriveOutcome:
    """Send a catalog entry to its topic again, confirmed. Entries never change, so its offset doesn't matter.

    Raises BadRecord for a record that holds no entry.
    """
    if mongo.document_id(record.key) == mongo.HEARTBEAT_ID:
        return RedriveOutcome(verdict=Verdict.OUTDATED, detail="a newer catalog heartbeat exists")
    change = decoding.change(record.topic, record.key, record.value, record.headers, record.offset)
    if change is not None:
        entry_reader(PRICE_HISTORY)(change)
    producer = ConfirmedProducer(clients.producer(bootstrap))
    producer.deliver(record.topic, record.key, record.value, record.headers, record.partition)
    return RedriveOutcome(verdict=Verdict.LANDED, detail="it was sent to its topic again, where enrichment reads it")
