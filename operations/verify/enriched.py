"""Compute the rows that an enriched table must hold: the source's rows joined with the catalog in MongoDB."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import cast

from operations.databases.canonical import canonical
from operations.databases.database import KEYS_AT_ONCE
from operations.databases.mongo import CatalogSource, Hashed, hashes_of, parts_of, sums_of
from operations.databases.postgres import PostgresSource
from operations.databases.scope import Group, Scope, group_of
from schemas.change import Change, Key, Op, Row
from schemas.checksums import SEPARATOR, Sum, compared_text, text_hash
from schemas.decoders.values import microseconds
from schemas.position import Position
from schemas.tables import PRICE_HISTORY, Table
from streams.asof import CatalogEntry, Product
from streams.catalog import Catalog
from streams.enrich import NEEDED, enricher

TEXTS = 100_000  # of catalog entries, which many order lines share
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EnrichedSource:
    """The source side of enriched tables: Postgres' rows with enriched columns that the pure join adds here.

    Sums read the whole catalog once. Rows read it again, for their own products only, so that a price change between
    the two reads is seen. `now` is MongoDB's time: an order line that is priced later can't be decided yet.
    """

    def __init__(self, source: PostgresSource, catalog: CatalogSource, now: Callable[[], datetime]) -> None:
        self._source, self._catalog, self._now = source, catalog, now
        self._known = Catalog()

    def sums(self, table: Table, scope: Scope) -> dict[Group, Sum]:
        """Return each group's sum, after reading the whole catalog."""
        self._known = self._catalog_of(self._catalog.rows(PRICE_HISTORY, Scope()))
        return sums_of(self._hashed(table, scope))

    def parts(self, table: Table, scope: Scope, bounds: Sequence[Key]) -> list[Sum]:
        """Return the sum of each part that `bounds` cut."""
        return parts_of(self._hashed(table, scope), bounds)

    def bounds(self, table: Table, scope: Scope, step: int) -> list[Key]:
        """Return the key of every `step`-th row, in order."""
        return self._source.bounds(table, scope, step)

    def hashes(self, table: Table, scope: Scope) -> dict[Key, int]:
        """Return each key's sum of hashes."""
        return hashes_of(self._hashed(table, scope))

    def rows(self, table: Table, scope: Scope) -> Iterator[Row]:
        """Yield the canonical rows, after reading the catalog entries of their products."""
        enrich, product = enricher(table), _product_of(table)
        rows = self._source.rows(table, scope)
        while some := list(islice(rows, KEYS_AT_ONCE)):
            known = self._catalog_of(self._catalog.of_products(PRICE_HISTORY, set(map(product, some))))
            for row in some:
                yield canonical(table, enrich(_read(table, row), known).change.row or ())

    def _hashed(self, table: Table, scope: Scope) -> Iterator[Hashed]:
        """Yield each row's group, key and hash.

        Postgres is asked only for the key, the date and the join's columns, besides the text that it hashes.
        """
        needed = dict.fromkeys([*table.key, *([table.ages_by] if table.ages_by else []), *NEEDED])
        narrow = replace(table, columns=tuple(map(table.column, needed)), enrichment=())
        enrich, group = enricher(narrow), group_of(narrow)
        added, text = len(narrow.columns), lru_cache(TEXTS)(compared_text(table.enrichment))
        for *values, given in self._source.texts(table, scope, list(needed)):
            row = tuple(values)
            enriched = (enrich(_read(narrow, row), self._known).change.row or ())[added:]
            yield group(row), row[: len(table.key)], text_hash(f"{given}{SEPARATOR}{text(enriched)}")

    def _catalog_of(self, entries: Iterable[Row]) -> Catalog:
        """Return a catalog of these entries, complete up to now. The entries must not have been read yet."""
        catalog = Catalog(slack=timedelta(0))
        now = self._now()
        names = [column.name for column in PRICE_HISTORY.columns]
        for row in entries:
            field = dict(zip(names, row, strict=True))
            entry = CatalogEntry(
                valid_from=microseconds(cast(datetime, field["valid_from"])),
                name=str(field["name"]),
                category=str(field["category"]),
                price=cast(Decimal, field["price"]),
            )
            catalog.add((str(field["tenant_id"]), str(field["sku"])), entry)
        catalog.heartbeat(now)
        return catalog


def _product_of(table: Table) -> Callable[[Row], Product]:
    names = [column.name for column in table.columns]
    tenant, sku = names.index(NEEDED[0]), names.index(NEEDED[1])
    return lambda row: (str(row[tenant]), str(row[sku]))


def _read(table: Table, row: Row) -> Change:
    return Change(table=table, key=(), op=Op.READ, position=Position(0, 0), source_time=_EPOCH, row=row)
