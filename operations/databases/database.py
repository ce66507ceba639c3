"""A side that computes its sums itself, in SQL (queries.py)."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from operations.databases.canonical import Place, canonical, utc
from operations.databases.queries import Relation
from operations.databases.scope import Group, Scope, key_of
from schemas.change import Key, Row, Value
from schemas.checksums import Sum
from schemas.position import Position
from schemas.tables import Table
from sinks.reporting import control
from sinks.reporting.cutoff import Cutoff, cutoffs_of

KEYS_AT_ONCE = 200  # SQL Server takes 2,100 parameters
ERASED = "SELECT tenant_id, event_id FROM retention.erased_event"


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
        found = self._ask(*self._relation(table).sums(scope))
        return {(tenant, first): Sum(count, int(total)) for tenant, first, count, total in found}

    def parts(self, table: Table, scope: Scope, bounds: Sequence[Key]) -> list[Sum]:
        found = self._ask(*self._relation(table).parts(scope, bounds))
        sums = {part: Sum(count, int(total)) for part, count, total in found}
        return [sums.get(part, Sum()) for part in range(len(bounds) + 1)]

    def bounds(self, table: Table, scope: Scope, step: int) -> list[Key]:
        return [tuple(key) for key in self._ask(*self._relation(table).bounds(scope, step))]

    def hashes(self, table: Table, scope: Scope) -> dict[Key, int]:
        hashes: Counter[Key] = Counter()
        for *key, hashed in self._stream(*self._relation(table).hashes(scope)):
            hashes[tuple(key)] += self._hash_of(hashed)
        return dict(hashes)

    def rows(self, table: Table, scope: Scope) -> Iterator[Row]:
        return (canonical(table, row) for row in self._stream(*self._relation(table).rows(scope)))

    def stored(self, table: Table, key: Key) -> Row | None:
        place = key_of(table)
        found = (tuple(row) for row in self._ask(*self._relation(table).rows(Scope(keys=(key,)))))
        return next((row for row in found if place(row) == key), None)

    def places(self, table: Table, keys: Sequence[Key]) -> dict[Key, Place]:
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


class ReportingDatabase(Database, ABC):
    """A generation of reporting. Subclasses run queries on their database's connection, and close it."""

    generation: int
    read_cutoffs: str  # the SQL of this database's dialect

    @abstractmethod
    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a small query, with `%s` for each parameter."""

    def offsets(self) -> dict[tuple[str, int], int]:
        """Return the next offset of each (topic, partition) that has landed."""
        found = self.query(*control.read_checkpoints(self.generation))
        return {(topic, number): offset for topic, number, offset in found}

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """Return what has aged out of each part of the retention policy."""
        return cutoffs_of(self.query(self.read_cutoffs))

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """Return the events of erased persons: (tenant, event id)."""
        return {(tenant, event) for tenant, event in self.query(ERASED)}


def batches(keys: Sequence[Key]) -> Iterator[tuple[Key, ...]]:
    """As many keys at once as a query takes."""
    return (tuple(keys[start : start + KEYS_AT_ONCE]) for start in range(0, len(keys), KEYS_AT_ONCE))
