"""The enrichment itself: an ordinary function from a captured line and the catalog to the line that lands.

Opens nothing and keeps nothing; when a choice is final is said here and nowhere else
(docs/decisions/0002-catalog-watermark.md).
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, Protocol, cast

from schemas.change import Change, Row
from schemas.decoders.values import microseconds
from schemas.position import enrichment_version
from schemas.tables import Table
from streams.asof import CatalogEntry, History, Product, as_of


class EnrichmentStatus(StrEnum):
    """ENRICHED is final. PROVISIONAL has an entry, but a later one may still be on its way. PENDING has none."""

    ENRICHED = "enriched"
    PROVISIONAL = "provisional"
    PENDING = "pending"


class CatalogLookup(Protocol):
    """The part of the catalog that enrichment reads.

    `watermark` in µs: every entry that is valid from then or earlier is known.
    """

    @property
    def watermark(self) -> int: ...

    def history(self, product: Product) -> History: ...


class Wait(NamedTuple):
    """The condition of an undecided line: the watermark reaches `due` (µs), or, if None, `product` gets an entry."""

    product: Product
    due: int | None


class Enriched(NamedTuple):
    """The change to emit; `wait` is None once it is final."""

    change: Change
    wait: Wait | None


Enrich = Callable[[Change, CatalogLookup], Enriched]

NEEDED = ("tenant_id", "sku", "priced_at")
"""The columns that name a line's product and its instant: all that its enrichment depends on."""

_NOTHING_KNOWN: Row = (None, None, None, 0, EnrichmentStatus.PENDING.value)


def enricher(table: Table) -> Enrich:
    """Return the enrichment function of `table`, which has the columns in NEEDED."""
    names = [column.name for column in table.columns]
    tenant, sku, priced = (names.index(name) for name in NEEDED)

    def enrich(change: Change, catalog: CatalogLookup) -> Enriched:
        row = change.row
        if row is None:
            return Enriched(change, None)
        product = cast(Product, (row[tenant], row[sku]))
        priced_at = microseconds(cast(datetime, row[priced]))
        # Read before the history: the catalog's reader may add entries between the two.
        watermark = catalog.watermark
        entry = as_of(catalog.history(product), priced_at)
        if entry is None:
            return _emit(change, row + _NOTHING_KNOWN, 0, Wait(product, None))
        due = due_at(entry, priced_at, microseconds(change.source_time))
        if watermark >= due:
            return _emit(change, row + decided(entry), enrichment_version(entry.valid_from, decided=True), None)
        if entry.valid_from > priced_at:
            # An even earlier entry may follow, and versions must not go down.
            return _emit(change, row + _NOTHING_KNOWN, 0, Wait(product, due))
        version = enrichment_version(entry.valid_from, decided=False)
        return _emit(change, row + _columns(entry, EnrichmentStatus.PROVISIONAL), version, Wait(product, due))

    return enrich


def due_at(entry: CatalogEntry, priced_at: int, source_time: int) -> int:
    """Return the watermark (µs) at which `entry`, chosen for `priced_at`, can't change any more.

    The commit of the order line counts too: of a catalog loaded with valid_from in the past, the part written before
    the order line is known.
    """
    return max(priced_at, source_time, entry.valid_from)


def decided(entry: CatalogEntry) -> Row:
    """Return the enrichment's columns of a decided line. `verify` compares reporting with them."""
    return _columns(entry, EnrichmentStatus.ENRICHED)


def _columns(entry: CatalogEntry, status: EnrichmentStatus) -> Row:
    return (entry.name, entry.category, entry.price, entry.valid_from, status.value)


def _emit(change: Change, row: Row, version: int, wait: Wait | None) -> Enriched:
    return Enriched(replace(change, row=row, position=change.position._replace(version=version)), wait)
