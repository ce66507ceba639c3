"""The MongoDB catalog. Its documents are hashed here, as MongoDB computes no such hash."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from bson import Decimal128
from pymongo.database import Database as Catalog

from operations.databases.canonical import canonical
from operations.databases.scope import Group, Scope, group_of, key_of, within
from schemas.change import Key, Row, Value
from schemas.checksums import Sum, compared_text, text_hash
from schemas.tables import Table
from sinks.reporting.cutoff import TENANT
from streams.asof import Product

Hashed = tuple[Group, Key, int]  # a row's group, key and hash


class CatalogSource:
    """The MongoDB collections, whose documents are summed here."""

    def __init__(self, database: Catalog[dict[str, Any]]) -> None:
        self._database = database

    def sums(self, table: Table, scope: Scope) -> dict[Group, Sum]:
        return sums_of(self._hashed(table, scope))

    def parts(self, table: Table, scope: Scope, bounds: Sequence[Key]) -> list[Sum]:
        return parts_of(self._hashed(table, scope), bounds)

    def bounds(self, table: Table, scope: Scope, step: int) -> list[Key]:
        return sorted(self.hashes(table, scope))[step - 1 :: step]

    def hashes(self, table: Table, scope: Scope) -> dict[Key, int]:
        return hashes_of(self._hashed(table, scope))

    def rows(self, table: Table, scope: Scope) -> Iterator[Row]:
        wanted: dict[str, Any] = {}
        if scope.tenants is not None:
            wanted[TENANT] = {"$in": list(scope.tenants)}
        if scope.keys is not None:
            wanted["_id"] = {"$in": [dict(zip(table.key, key, strict=True)) for key in scope.keys]}
        return filter(within(table, scope), self._find(table, wanted))

    def of_products(self, table: Table, products: AbstractSet[Product]) -> Iterator[Row]:
        """Yield the canonical rows of these products of a table that has tenants and SKUs, and perhaps of others."""
        tenants, skus = ({product[place] for product in products} for place in (0, 1))
        return self._find(table, {TENANT: {"$in": sorted(tenants)}, "sku": {"$in": sorted(skus)}})

    def _find(self, table: Table, wanted: Mapping[str, Any]) -> Iterator[Row]:
        names = [column.name for column in table.columns]
        documents = self._database[table.relation].find(wanted)
        return (canonical(table, [_from_bson(document.get(name)) for name in names]) for document in documents)

    def _hashed(self, table: Table, scope: Scope) -> Iterator[Hashed]:
        group, key, text = group_of(table), key_of(table), compared_text(table.columns)
        return ((group(row), key(row), text_hash(text(row))) for row in self.rows(table, scope))


def sums_of(hashed: Iterable[Hashed]) -> dict[Group, Sum]:
    """Return the sum of each group's hashes."""
    counts: Counter[Group] = Counter()
    totals: Counter[Group] = Counter()
    for group, _, each in hashed:
        counts[group] += 1
        totals[group] += each
    return {group: Sum(count, totals[group]) for group, count in counts.items()}


def hashes_of(hashed: Iterable[Hashed]) -> dict[Key, int]:
    """Return the sum of the hashes of each key's rows."""
    hashes: Counter[Key] = Counter()
    for _, key, each in hashed:
        hashes[key] += each
    return dict(hashes)


def parts_of(hashed: Iterable[Hashed], bounds: Sequence[Key]) -> list[Sum]:
    """Return the sum of the hashes of each part, the keys being split after each of `bounds`."""
    counts, totals = [0] * (len(bounds) + 1), [0] * (len(bounds) + 1)
    for _, key, each in hashed:
        part = bisect_left(bounds, key)
        counts[part] += 1
        totals[part] += each
    return list(map(Sum, counts, totals))


def _from_bson(value: Any) -> Value:
    return value.to_decimal() if isinstance(value, Decimal128) else value
