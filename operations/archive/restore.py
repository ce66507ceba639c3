"""`headrace archive restore`: archived events back into a topic, for whoever reads captured events."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from rich.console import Console

from connectors.admin import create_topics
from kafka import clients
from kafka.registry import Registry
from operations import connections
from operations.settings import Settings
from schemas.tables import EVENTS, Table
from schemas.topics import topics
from sinks.archive.files import Datum
from sinks.archive.layout import bucket
from sinks.archive.log import Log
from sinks.archive.reading import distinct
from sinks.archive.restoring import restore as send


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events: of a tenant, of a type, of the days `since` to `until`, both included. None is all."""

    tenant: str | None = None
    event_type: str | None = None
    since: date | None = None
    until: date | None = None

    def of(self, log: Log, table: Table) -> Iterator[Datum]:
        """The events, each once, without those that were erased; by day. Raises FileDamaged, ArchiveUnavailable."""
        manifest = log.manifest()
        erased, id_ = manifest.erased(table.name), table.key[-1]
        for folder, files in manifest.folders(table.name).items():
            if (self.since or date.min) <= folder.day <= (self.until or date.max) and (
                self.tenant is None or bucket(self.tenant) == folder.bucket
            ):
                for datum in distinct(log.store, table, files):
                    if self._holds(datum) and (datum["tenant_id"], datum[id_]) not in erased:
                        yield datum

    def _holds(self, datum: Datum) -> bool:
        return self.tenant in (None, datum["tenant_id"]) and self.event_type in (None, datum["event_type"])


def restore(settings: Settings, out: Console, wanted: Wanted, topic: str, table: Table = EVENTS) -> int:
    """Send the events that are wanted, and return how many. Raises HeadraceError, Unavailable; what was sent by then
    stays in the topic, and sending it again is harmless to who counts an event once."""
    log, bootstrap = connections.archive(settings, "restore"), settings.kafka.bootstrap
    make_topic(bootstrap, topic, table)
    registry = Registry(settings.registry.url)
    try:
        sent = send(clients.producer(bootstrap), registry, table, topic, wanted.of(log, table))
    finally:
        registry.close()
    out.print(f"{topic}: {sent:,} events, confirmed", markup=False, soft_wrap=True)
    return sent


def make_topic(bootstrap: str, name: str, table: Table) -> None:
    """Makes a topic like those that capture a table's events, unless it is there."""
    if name not in clients.admin(bootstrap).list_topics(timeout=clients.TIMEOUT).topics:
        like = next(each for each in topics([table]) if each.name in table.captured_topics)
        create_topics(bootstrap, [replace(like, name=name)])
