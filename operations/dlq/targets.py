"""The ways that redriven records go, opened on the settings' servers when they are first taken."""

import time
from collections.abc import Iterator
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
from sinks.archive.backfill import add
from sinks.archive.batch import ArchiveBatch, spooling
from sinks.archive.log import Log, Superseded
from sinks.reporting.retrying import RetryingReporting
from streams.catalog import Catalog
from streams.catalog_reader import CatalogReader, entry_reader
from streams.enrich import Enrich, Enriched, enricher
from streams.wiring import Wiring

PATIENCE_S = 60.0  # for a reporting database that does not answer
CATALOG_S = 120.0  # for the catalog to be read to its end
TRIES = 20  # of an archive's entry: each one that is refused had another writer's come first


@contextmanager
def ways(settings: Settings) -> Iterator[RedriveTargets]:
    """All ways, for one thread. Raises what opening them does: HeadraceError for a refused login, Unavailable."""
    with ExitStack() as closing:
        registry = Registry(settings.registry.url)
        closing.callback(registry.close)
        found = destinations(settings)
        for each in found:
            closing.callback(each.reporting.close)
        decoding = Decoding(registry, [table for each in found for table in each.tables])

        @cache
        def enrichment() -> tuple[Enrich, Catalog]:
            wiring = Wiring(bootstrap=settings.kafka.bootstrap, registry_url=settings.registry.url)
            return enricher(wiring.table), closing.enter_context(catalog(wiring))

        def enrich(change: Change) -> Enriched:
            enrich, known = enrichment()
            return enrich(change, known)

        @cache
        def archiving() -> tuple[Log, ArchiveBatch]:
            log = connections.archive(settings, "dlq redrive")
            spool = closing.enter_context(spooling(log.store, settings.archive.spool))
            return log, ArchiveBatch(spool, settings.archive.codec)

        def archive(change: Change) -> RedriveOutcome:
            return archive_event(*archiving(), change)

        def enter(record: Record) -> RedriveOutcome:
            return enter_again(settings.kafka.bootstrap, decoding, record)

        yield RedriveTargets(decoding=decoding, destinations=found, enrich=enrich, archive=archive, enter=enter)


def destinations(settings: Settings) -> list[Destination]:
    """Every generation of reporting that workers feed; the logins are tried now."""
    return [
        Destination(
            number=each.number,
            epoch=each.epoch,
            tables=of_generation(each.number),
            reporting=RetryingReporting(connections.landing(settings.of_generation(each.number)), PATIENCE_S),
        )
        for each in connections.fed(settings)
    ]


@contextmanager
def catalog(wiring: Wiring) -> Iterator[Catalog]:
    """The catalog, read to its end and followed from there. Raises Unavailable when that takes too long."""
    known = Catalog()

    def letters() -> DeadLetters:
        return DeadLetters(clients.producer(wiring.bootstrap), "enrich", topic=wiring.dead_letters)

    reader = CatalogReader(known, wiring, Registry(wiring.registry_url), letters)
    reader.start()
    try:
        while not reader.loaded.wait(0.05):
            if reader.failure is not None:
                raise reader.failure
            if time.monotonic() - reader.progress_at > CATALOG_S:
                raise Unavailable(f"{wiring.catalog} has brought nothing for {CATALOG_S:.0f} s")
        yield known
    finally:
        reader.stop()


def archive_event(log: Log, batch: ArchiveBatch, change: Change) -> RedriveOutcome:
    """Archives an event, unless the archive has it."""
    names = [column.name for column in change.table.columns]
    row = dict(zip(names, change.row or (), strict=True))
    for _ in range(TRIES):
        try:
            held = add(log, change.table, row, batch)
        except Superseded:
            continue
        if held:
            return RedriveOutcome(verdict=Verdict.LANDED, detail="it is in the archive")
        return RedriveOutcome(verdict=Verdict.AGED_OUT, detail="the archive has erased it")
    raise Unavailable(f"the archive changes too often: {TRIES} entries in a row were refused; run it again")


def enter_again(bootstrap: str, decoding: Decoding, record: Record) -> RedriveOutcome:
    """Sends a catalog entry to its topic once more, confirmed: it is the same at any offset, as entries never change.

    Raises BadRecord for a record that holds none.
    """
    if mongo.document_id(record.key) == mongo.HEARTBEAT_ID:
        return RedriveOutcome(verdict=Verdict.OUTDATED, detail="the catalog's heart has beaten since")
    change = decoding.change(record.topic, record.key, record.value, record.headers, record.offset)
    if change is not None:
        entry_reader(PRICE_HISTORY)(change)
    producer = ConfirmedProducer(clients.producer(bootstrap))
    producer.deliver(record.topic, record.key, record.value, record.headers, record.partition)
    return RedriveOutcome(verdict=Verdict.LANDED, detail="it is in its topic once more; enrichment reads it there")
