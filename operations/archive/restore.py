"""Run `headrace archive restore`: send archived events to a topic, for consumers of captured events."""

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
from sinks.archive.restore import send_to_topic


def restore_events(
    settings: Settings, out: Console, selection: ArchiveSelection, topic: str, table: Table = EVENTS
) -> int:
    """Send the selected events to a topic, and return their number.

    A topic of the running pipeline is refused: Headrace's own consumers would drop the repeats, but other consumers
    would take old events for new ones, and the archive would hold them twice. Its schema also belongs to capture.

    Raises:
        HeadraceError: the topic belongs to the running pipeline, or the archive can't be read.
        Unavailable: a server does not answer. The topic may hold a part of the events; sending them again is harmless
            to consumers that count an event once.
    """
    if topic in {each.name for each in topics()}:
        raise HeadraceError(
            f"{topic} belongs to the running pipeline, whose consumers would get old events: name another"
        )
    log, bootstrap = connections.archive(settings, "restore"), settings.kafka.bootstrap
    make_topic(bootstrap, topic, table, settings.kafka.replication)
    registry = Registry(settings.registry.url)
    try:
        sent = send_to_topic(clients.producer(bootstrap), registry, table, topic, records(log, table, selection))
    finally:
        registry.close()
    out.print(f"{topic}: {sent:,} events, confirmed", markup=False, soft_wrap=True)
    return sent


def make_topic(bootstrap: str, name: str, table: Table, replication: Replication) -> None:
    """Create a topic with the configuration of the table's captured topics, unless it exists."""
    if name not in clients.admin(bootstrap).list_topics(timeout=clients.TIMEOUT).topics:
        like = next(each for each in topics([table]) if each.name in table.captured_topics)
        create_topics(bootstrap, [replication.of(replace(like, name=name))])
