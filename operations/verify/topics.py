"""Check and repair the compacted topics: `headrace verify --topics`. The check itself is overtaken.py.

A repair has the newest state of each key written once more, so that it is the key's last record. Debezium reads the
rows again on a signal, a row that the source has deleted gets a delete record, and a document's record is written here.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import groupby

import orjson
from rich.console import Console

from connectors.signals import signal_rows
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations import connections
from operations.barrier import PipelineProbe, wait_for_barrier
from operations.databases.postgres import PostgresSource
from operations.probe import open_probe
from operations.settings import Settings
from operations.verify.delete_records import keys_present, write_deletes
from operations.verify.diff import Difference
from operations.verify.documents import can_capture_again, write_documents
from operations.verify.overtaken import Overtaken, find_overtaken
from operations.verify.repair import capture_epoch, key_conditions
from schemas.tables import Source, Table, reported

SHOWN = 20


def verify_topics(  # noqa: PLR0913
    settings: Settings,
    *,
    deadline_s: float,
    generation: int | None = None,
    tables: Sequence[str] = (),
    repair: bool = False,
    on_table: Callable[[Table], None] = lambda _: None,
) -> list[Overtaken]:
    """Return the keys whose last record is older than the landed row.

    Args:
        settings: Where the servers are.
        deadline_s: Seconds that a repair has to land.
        generation: The generation to compare with; None for the live one.
        tables: Names of the tables; all when empty.
        repair: Repair the keys, and return those that are still overtaken at the deadline.
        on_table: Called with each table when its check begins.

    Raises:
        Unavailable: A server does not answer.
        HeadraceError: A topic is missing.
    """
    with open_probe(settings, generation) as probe, closing(Registry(settings.registry.url)) as registry:
        chosen = [table for table in reported(probe.pipeline.tables) if not tables or table.name in tables]
        decoding = Decoding(registry, probe.pipeline.tables)
        found = find_overtaken(probe.bootstrap, probe.report, decoding, chosen, on_table)
        end = time.monotonic() + deadline_s
        if repair and found:
            capture_again(settings, probe, registry, found)
        while repair and any(can_capture_again(each.table, each.key) for each in found) and time.monotonic() < end:
            wait_for_barrier(probe, deadline_s=deadline_s)
            left = {each.table.name for each in found}
            found = find_overtaken(
                probe.bootstrap, probe.report, decoding, [each for each in chosen if each.name in left]
            )
        return found


def capture_again(settings: Settings, probe: PipelineProbe, registry: Registry, found: Iterable[Overtaken]) -> None:
    """Have the newest state of these keys written to their topics. They are ordered by table."""
    with connections.oltp(settings, "cdc_reader") as signals:
        for table, some in groupby(found, lambda each: each.table):
            places = {each.key: each.landed for each in some}
            if table.source is Source.MONGODB:
                write_documents(probe.bootstrap, registry, probe.catalog, table, list(places), capture_epoch(probe))
                continue
            rows = [Difference(table=table, key=key, source=None, report=None, place=at) for key, at in places.items()]
            source = PostgresSource(probe.oltp)
            there = keys_present(table, list(places), source)
            back = write_deletes(probe.bootstrap, registry, [each for each in rows if each.key not in there], source)
            for condition in key_conditions(table, [*(each for each in rows if each.key in there), *back]):
                signal_rows(signals, f"{table.schema}.{table.relation}", condition)


def print_overtaken(found: Sequence[Overtaken], out: Console, *, json: bool) -> None:
    """Print the overtaken keys; as JSON if `json`."""
    if json:
        out.print_json(orjson.dumps({"equal": not found, "overtaken": list(map(str, found))}).decode())
        return
    for each in found[:SHOWN]:
        out.print(f"      {each}", markup=False, soft_wrap=True)
    if len(found) > SHOWN:
        out.print(f"      and {len(found) - SHOWN} more")
    out.print(f"{len(found)} keys end in a record that is older than the landed row")
