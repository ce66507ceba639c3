"""The two sides that verification compares, read from the databases themselves and never from our own counters.

Each is asked in operations/verify/queries.py's words for sums of hashes, for hashes, and for the rows of a few keys.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from typing import Any, Protocol

import psycopg
from bson import Decimal128
from pymongo.database import Database as Catalog

from operations.verify.diff import Place, canonical, utc
from operations.verify.queries import Relation, in_postgres, in_source, in_sqlserver
from operations.verify.scope import Group, Scope, group_of, key_of, within
from schemas.change import Key, Row, Value
from schemas.checksums import HASH_DIGITS, Sum, compared_text, text_hash
from schemas.generations import schema
from schemas.position import Position
from schemas.tables import Table
from sinks.reporting.cutoff import TENANT, Cutoff, cutoffs_of
from sinks.reporting.postgres import landing_sql as postgres_sql
from sinks.reporting.sqlserver import checksum_sql as sqlserver_sums_sql
from sinks.reporting.sqlserver import landing_sql as sqlserver_sql
from streams.asof import Product

CHUNK = 5_000
KEYS_AT_ONCE = 200  # SQL Server takes 2,100 parameters
INSTANT = "%Y-%m-%d %H:%M:%S.%f"
ERASED = "SELECT tenant_id, event_id FROM retention.erased_event"

Hashed = tuple[Group, Key, int]  # a row's group, key and hash


class Side(Protocol):
    """One side of a comparison. Deleted rows aren't there."""

    def sums(self, table: Table, scope: Scope) -> dict[Group, Sum]:
        """The sum of each group's rows; a group without rows isn't there."""

    def parts(self, table: Table, scope: Scope, bounds: Sequence[Key]) -> list[Sum]:
        """The sum of each of `scope.parts(bounds)`."""

    def bounds(self, table: Table, scope: Scope, step: int) -> list[Key]:
        """The key of every `step`-th row, in order."""

    def hashes(self, table: Table, scope: Scope) -> dict[Key, int]:
        """The sum of the hashes of each key's rows: one row's hash, wherever the key is unique."""

    def rows(self, table: Table, scope: Scope) -> Iterator[Row]:
        """The canonical rows, in any order."""


class Report(Side, Protocol):
    """A generation of reporting: one side of a comparison that also knows how far it has landed."""

    @property
    def generation(self) -> int:
        """Its number."""

    def offsets(self) -> dict[tuple[str, int], int]:
        """The next offset of each (topic, partition) that has landed."""

    def places(self, table: Table, keys: Sequence[Key]) -> dict[Key, Place]:
        """Where the rows of these keys have landed, deleted ones included; no events."""

    def stored(self, table: Table, key: Key) -> Row | None:
        """The row as it is stored, documents by their own text."""

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query."""

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """Runs a small statement, a transaction of its own, with `%s` for each parameter; the number of rows changed.
        Instants are given, and stored, in UTC."""

    def close(self) -> None:
        """Closes the connection."""

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """Part of the retention policy → what has aged out of it."""

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """The events of erased persons: (tenant, event id)."""


class Database:
    """A side that sums by itself: `relation` names a table there, `ask` runs a query of few rows, `stream` one of many,
    `hash_of` reads a hash."""

    def __init__(
        self,
        relation: Callable[[Table], Relation],
        ask: Callable[[str, Sequence[Value]], Iterable[Sequence[Any]]],
        stream: Callable[[str, Sequence[Value]], Iterator[Sequence[Any]]],
        hash_of: Callable[[Any], int] = int,
    ) -> None:
        self._relation, self._ask, self._stream, self._hash_of = relation, ask, stream, hash_of

    def sums(self, table: Table, scope: Scope) -> dict[Group, Sum]:
        """See `Side.sums`."""
        found = self._ask(*self._relation(table).sums(scope))
        return {(tenant, first): Sum(count, int(total)) for tenant, first, count, total in found}

    def parts(self, table: Table, scope: Scope, bounds: Sequence[Key]) -> list[Sum]:
        """See `Side.parts`."""
        found = self._ask(*self._relation(table).parts(scope, bounds))
        sums = {part: Sum(count, int(total)) for part, count, total in found}
        return [sums.get(part, Sum()) for part in range(len(bounds) + 1)]

    def bounds(self, table: Table, scope: Scope, step: int) -> list[Key]:
        """See `Side.bounds`."""
        return [tuple(key) for key in self._ask(*self._relation(table).bounds(scope, step))]

    def hashes(self, table: Table, scope: Scope) -> dict[Key, int]:
        """See `Side.hashes`."""
        hashes: Counter[Key] = Counter()
        for *key, hashed in self._stream(*self._relation(table).hashes(scope)):
            hashes[tuple(key)] += self._hash_of(hashed)
        return dict(hashes)

    def rows(self, table: Table, scope: Scope) -> Iterator[Row]:
        """See `Side.rows`."""
        return (canonical(table, row) for row in self._stream(*self._relation(table).rows(scope)))

    def stored(self, table: Table, key: Key) -> Row | None:
        """See `Report.stored`."""
        place = key_of(table)
        found = (tuple(row) for row in self._ask(*self._relation(table).rows(Scope(keys=(key,)))))
        return next((row for row in found if place(row) == key), None)

    def places(self, table: Table, keys: Sequence[Key]) -> dict[Key, Place]:
        """See `Report.places`."""
        found: dict[Key, Place] = {}
        for some in batches(keys):
            for *key, epoch, offset, version, commit, change, deleted, at in self._ask(
                *self._relation(table).places(Scope(keys=some))
            ):
                position = Position(epoch, offset, version, (commit, change))
                found[tuple(key)] = Place(position=position, source_time=utc(at), deleted=bool(deleted))
        return found

    def texts(self, table: Table, scope: Scope, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """Of each row the values of `columns`, then its canonical text."""
        return self._stream(*self._relation(table).texts(scope, columns))


class PostgresSource(Database):
    """The OLTP tables, through the role `reporter_reader`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(
            in_source,
            lambda sql, parameters: connection.execute(sql.encode(), parameters),
            lambda sql, parameters: stream(connection, sql, parameters),
        )


class PostgresReport(Database):
    """A generation of reporting, in Postgres."""

    def __init__(self, connection: psycopg.Connection[Any], generation: int) -> None:
        super().__init__(
            lambda table: in_postgres(table, generation),
            lambda sql, parameters: connection.execute(sql.encode(), parameters),
            lambda sql, parameters: stream(connection, sql, parameters),
        )
        self._connection, self.generation = connection, generation

    def offsets(self) -> dict[tuple[str, int], int]:
        """The next offset of each (topic, partition) that has landed."""
        return {(topic, number): offset for topic, number, offset in self.query(checkpoints(self.generation))}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query."""
        return self._connection.execute(sql.encode()).fetchall()

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """See `Report.execute`."""
        return self._connection.execute(sql.encode(), parameters).rowcount

    def close(self) -> None:
        """See `Report.close`."""
        self._connection.close()

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """See `Report.cutoffs`."""
        return cutoffs_of(self.query(postgres_sql.read_cutoffs()))

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """See `Report.erased`."""
        return {(tenant, event) for tenant, event in self.query(ERASED)}


class SqlServerReport(Database):
    """A generation of reporting, in SQL Server; `connection` is pyodbc's."""

    def __init__(self, connection: Any, generation: int) -> None:
        knows_utf8 = connection.execute(sqlserver_sums_sql.KNOWS_UTF8).fetchval() > 0
        super().__init__(
            lambda table: in_sqlserver(table, generation, knows_utf8=knows_utf8),
            self._in_turn,
            self._in_turn,
            lambda digest: int(digest.hex()[:HASH_DIGITS], 16),
        )
        self._connection, self.generation = connection, generation

    def offsets(self) -> dict[tuple[str, int], int]:
        """The next offset of each (topic, partition) that has landed."""
        return {(topic, number): offset for topic, number, offset in self.query(checkpoints(self.generation))}

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """All rows of a small query."""
        return [tuple(row) for row in self._connection.execute(sql).fetchall()]

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """See `Report.execute`."""
        # As text: the driver may bind an instant without its microseconds.
        given = [f"{one.astimezone(UTC):{INSTANT}}" if isinstance(one, datetime) else one for one in parameters]
        return int(self._connection.execute(sql.replace("%s", "?"), given).rowcount)

    def close(self) -> None:
        """See `Report.close`."""
        self._connection.close()

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """See `Report.cutoffs`."""
        return cutoffs_of(self.query(sqlserver_sql.read_cutoffs()))

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """See `Report.erased`."""
        return {(tenant, event) for tenant, event in self.query(ERASED)}

    def _in_turn(self, sql: str, parameters: Sequence[Value]) -> Iterator[Sequence[Any]]:
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("%s", "?").replace("%%", "%"), parameters)
        while batch := cursor.fetchmany(CHUNK):
            yield from batch


class CatalogSource:
    """The MongoDB collections, whose documents are summed here."""

    def __init__(self, database: Catalog[dict[str, Any]]) -> None:
        self._database = database

    def sums(self, table: Table, scope: Scope) -> dict[Group, Sum]:
        """See `Side.sums`."""
        return sums_of(self._hashed(table, scope))

    def parts(self, table: Table, scope: Scope, bounds: Sequence[Key]) -> list[Sum]:
        """See `Side.parts`."""
        return parts_of(self._hashed(table, scope), bounds)

    def bounds(self, table: Table, scope: Scope, step: int) -> list[Key]:
        """See `Side.bounds`."""
        return sorted(self.hashes(table, scope))[step - 1 :: step]

    def hashes(self, table: Table, scope: Scope) -> dict[Key, int]:
        """See `Side.hashes`."""
        return hashes_of(self._hashed(table, scope))

    def rows(self, table: Table, scope: Scope) -> Iterator[Row]:
        """See `Side.rows`."""
        wanted: dict[str, Any] = {}
        if scope.tenants is not None:
            wanted[TENANT] = {"$in": list(scope.tenants)}
        if scope.keys is not None:
            wanted["_id"] = {"$in": [dict(zip(table.key, key, strict=True)) for key in scope.keys]}
        return filter(within(table, scope), self._find(table, wanted))

    def of_products(self, table: Table, products: AbstractSet[Product]) -> Iterator[Row]:
        """The canonical rows of these products of a table that has tenants and SKUs, and perhaps of others."""
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
    """The sum of each group, of hashes that were made here."""
    counts: Counter[Group] = Counter()
    totals: Counter[Group] = Counter()
    for group, _, each in hashed:
        counts[group] += 1
        totals[group] += each
    return {group: Sum(count, totals[group]) for group, count in counts.items()}


def hashes_of(hashed: Iterable[Hashed]) -> dict[Key, int]:
    """The sum of the hashes of each key's rows, of hashes that were made here."""
    hashes: Counter[Key] = Counter()
    for _, key, each in hashed:
        hashes[key] += each
    return dict(hashes)


def parts_of(hashed: Iterable[Hashed], bounds: Sequence[Key]) -> list[Sum]:
    """The sum of each part of what is cut after each of `bounds`, of hashes that were made here."""
    counts, totals = [0] * (len(bounds) + 1), [0] * (len(bounds) + 1)
    for _, key, each in hashed:
        part = bisect_left(bounds, key)
        counts[part] += 1
        totals[part] += each
    return list(map(Sum, counts, totals))


def batches(keys: Sequence[Key]) -> Iterator[tuple[Key, ...]]:
    """As many keys at once as a query takes."""
    return (tuple(keys[start : start + KEYS_AT_ONCE]) for start in range(0, len(keys), KEYS_AT_ONCE))


def checkpoints(generation: int) -> str:
    """The query for how far each partition has landed. Quoted: CHECKPOINT is a statement of T-SQL."""
    return f'SELECT "topic", "partition", "next_offset" FROM {schema(generation)}."checkpoint"'


def stream(connection: psycopg.Connection[Any], sql: str, parameters: Sequence[Any]) -> Iterator[Row]:
    """The rows of a query through a server-side cursor, so that memory stays flat."""
    with connection.transaction(), connection.cursor(name="verify") as cursor:
        cursor.itersize = CHUNK
        cursor.execute(sql.encode(), parameters)
        yield from cursor


def _from_bson(value: Any) -> Value:
    return value.to_decimal() if isinstance(value, Decimal128) else value
