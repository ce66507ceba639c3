"""`headrace archive restore`: archived events back into a topic, for whoever reads captured events."""

from dataclasses import replace

from rich.console import Console

from connectors.kafka_topics import create_topics
from messaging import clients
from messaging.registry import Registry
from operations import connections
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.tables import EVENTS, Table
from schemas.topics import Replication, topics
from sinks.archive.reader import ArchiveSelection, records
from sinks.archive.restore import restore as send


def restore(settings: Settings, out: Console, selection: ArchiveSelection, topic: str, table: Table = EVENTS) -> int:
    """Send the selected events, and return how many. Raises HeadraceError, Unavailable; what was sent by then
    stays in the topic, and sending it again is harmless to who counts an event once.

    Not into a topic of the running line: Headrace's own readers would drop the repeats, but others take old events for
    new ones; the archive would hold them twice, and the schema there is capture's.
    """
    if topic in {each.name for each in topics()}:
        raise HeadraceError(f"{topic} belongs to the running line, whose readers would get old events: name another")
    log, bootstrap = connections.archive(settings, "restore"), settings.kafka.bootstrap
    make_topic(bootstrap, topic, table, settings.kafka.replication)
    registry = Registry(settings.registry.url)
    try:
        sent = send(clients.producer(bootstrap), registry, table, topic, records(log, table, selection))
    finally:
        registry.close()
    out.print(f"{topic}: {sent:,} events, confirmed", markup=False, soft_wrap=True)
    return sent


def make_topic(bootstrap: str, name: str, table: Table, replication: Replication) -> None:
    """Makes a topic like those that capture a table's events, unless it is there."""
    if name not in clients.admin(bootstrap).list_topics(timeout=clients.TIMEOUT).topics:
        like = next(each for each in topics([table]) if each.name in table.captured_topics)
        create_topics(bootstrap, [replication.of(replace(like, name=name))])
