"""What an enriched table must hold: the source's rows through the pure join, with the catalog read from MongoDB."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import cast

from operations.compare import canonical
from operations.rows import Rows
from schemas.change import Change, Key, Op, Row
from schemas.position import Position
from schemas.tables import PRICE_HISTORY, Table
from schemas.values import microseconds
from streams.asof import Entry
from streams.catalog import Catalog
from streams.enrich import enricher

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EnrichedSource:
    """A source side that adds the enrichment's columns to an enriched table's rows, and leaves other tables alone.

    The catalog is read anew for each table, so that a price change between two readings is seen. `now` is MongoDB's
    time: a line that is priced later than that can't be decided yet.
    """

    def __init__(self, source: Rows, catalog: Rows, now: Callable[[], datetime]) -> None:
        self._source, self._catalog, self._now = source, catalog, now

    def read(self, table: Table, keys: Sequence[Key] | None = None) -> Iterator[Row]:
        """See `Rows.read`."""
        rows = self._source.read(table, keys)
        if not table.enrichment:
            return rows
        return self._enriched(table, rows, self._read_catalog())

    def _enriched(self, table: Table, rows: Iterator[Row], catalog: Catalog) -> Iterator[Row]:
        enrich = enricher(table)
        for row in rows:
            change = Change(table=table, key=(), op=Op.READ, position=Position(0, 0), source_time=_EPOCH, row=row)
            yield canonical(table, enrich(change, catalog).change.row or ())

    def _read_catalog(self) -> Catalog:
        catalog = Catalog(slack=timedelta(0))
        now = self._now()
        names = [column.name for column in PRICE_HISTORY.columns]
        for row in self._catalog.read(PRICE_HISTORY):
            field = dict(zip(names, row, strict=True))
            entry = Entry(
                valid_from=microseconds(cast(datetime, field["valid_from"])),
                name=str(field["name"]),
                category=str(field["category"]),
                price=cast(Decimal, field["price"]),
            )
            catalog.add((str(field["tenant_id"]), str(field["sku"])), entry)
        catalog.heartbeat(now)
        return catalog
