"""`headrace verify --topics`: the audit of the compacted topics (overtaken.py), its repair, and how both are
shown.

The repair has the newest state of each key written once more, so that it is the key's last record: Debezium reads the
rows again on a signal, a row that the source has deleted gets a delete record, a document gets a record of its own.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from itertools import groupby

import orjson
from rich.console import Console

from connectors.kafka_topics import signal_rows
from messaging.decoding import Decoding
from messaging.registry import Registry
from operations import connections
from operations.barrier import PipelineProbe, wait_for_barrier
from operations.databases.postgres import PostgresSource
from operations.settings import Settings
from operations.verify.delete_records import held, write_deletes
from operations.verify.diff import Difference
from operations.verify.documents import writable, write_documents
from operations.verify.overtaken import Overtaken, audit
from operations.verify.repair import conditions, epoch_of
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
    """The keys of `tables` (all where none is named) whose last record is older than the landed row; with `repair`,
    those that still are after `deadline_s`. Raises Unavailable, HeadraceError."""
    with connections.open_probe(settings, generation) as probe, closing(Registry(settings.registry.url)) as registry:
        chosen = [table for table in reported(probe.pipeline.tables) if not tables or table.name in tables]
        decoding = Decoding(registry, probe.pipeline.tables)
        found = audit(probe.bootstrap, probe.report, decoding, chosen, on_table)
        end = time.monotonic() + deadline_s
        if repair and found:
            capture_again(settings, probe, registry, found)
        while repair and any(map(mendable, found)) and time.monotonic() < end:
            wait_for_barrier(probe, deadline_s=deadline_s)
            left = {each.table.name for each in found}
            found = audit(probe.bootstrap, probe.report, decoding, [each for each in chosen if each.name in left])
        return found


def mendable(found: Overtaken) -> bool:
    """Whether a repair can have the key's newest state written (documents.py has what it can't write)."""
    return found.table.source is not Source.MONGODB or writable(found.table, found.key)


def capture_again(settings: Settings, probe: PipelineProbe, registry: Registry, found: Iterable[Overtaken]) -> None:
    """Have the newest state of these keys written once more. They are ordered by their tables."""
    with connections.oltp(settings, "cdc_reader") as signals:
        for table, some in groupby(found, lambda each: each.table):
            places = {each.key: each.landed for each in some}
            if table.source is Source.MONGODB:
                write_documents(probe.bootstrap, registry, probe.catalog, table, list(places), epoch_of(probe))
                continue
            rows = [Difference(table=table, key=key, source=None, report=None, place=at) for key, at in places.items()]
            source = PostgresSource(probe.oltp)
            there = held(table, list(places), source)
            back = write_deletes(probe.bootstrap, registry, [each for each in rows if each.key not in there], source)
            for condition in conditions(table, [*(each for each in rows if each.key in there), *back]):
                signal_rows(signals, f"{table.schema}.{table.relation}", condition)


def print_overtaken(found: Sequence[Overtaken], out: Console, *, json: bool) -> None:
    """Print what was found."""
    if json:
        out.print_json(orjson.dumps({"equal": not found, "overtaken": list(map(str, found))}).decode())
        return
    for each in found[:SHOWN]:
        out.print(f"      {each}", markup=False, soft_wrap=True)
    if len(found) > SHOWN:
        out.print(f"      and {len(found) - SHOWN} more")
    out.print(f"{len(found)} keys end in a record that is older than the landed row")
