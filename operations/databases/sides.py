"""The two sides of a comparison, read from the databases themselves and never from our own counters.

Each is asked in the words of queries.py for sums of hashes, for hashes, and for the rows of a few keys.
"""

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Protocol

from operations.databases.canonical import Place
from operations.databases.scope import Group, Scope
from schemas.change import Key, Row, Value
from schemas.checksums import Sum
from schemas.tables import Table
from sinks.reporting.cutoff import Cutoff


class Side(Protocol):
    """One side of a comparison. Deleted rows aren't there."""

    def sums(self, table: Table, scope: Scope) -> dict[Group, Sum]:
        """Return the sum of each group's rows; a group without rows isn't there."""

    def parts(self, table: Table, scope: Scope, bounds: Sequence[Key]) -> list[Sum]:
        """Return the sum of each of `scope.parts(bounds)`."""

    def bounds(self, table: Table, scope: Scope, step: int) -> list[Key]:
        """Return the key of every `step`-th row, in order."""

    def hashes(self, table: Table, scope: Scope) -> dict[Key, int]:
        """Return the sum of the hashes of each key's rows: one row's hash, wherever the key is unique."""

    def rows(self, table: Table, scope: Scope) -> Iterator[Row]:
        """Yield the canonical rows, in any order."""


class Report(Side, Protocol):
    """A generation of reporting: one side of a comparison that also knows how far it has landed."""

    @property
    def generation(self) -> int:
        """The generation's number."""

    def offsets(self) -> dict[tuple[str, int], int]:
        """Return the next offset of each (topic, partition) that has landed."""

    def places(self, table: Table, keys: Sequence[Key]) -> dict[Key, Place]:
        """Return where the rows of these keys have landed, deleted ones included; no events."""

    def stored(self, table: Table, key: Key) -> Row | None:
        """Return the row as it is stored, documents by their own text."""

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a small query, with `%s` for each parameter."""

    def execute(self, sql: str, parameters: Sequence[Any]) -> int:
        """Run a small statement in a transaction of its own, with `%s` for each parameter.

        Instants are given, and stored, in UTC. Returns the number of rows changed.
        """

    def close(self) -> None:
        """Close the connection."""

    def cutoffs(self) -> Mapping[str, Cutoff]:
        """Return, for each part of the retention policy, what has aged out of it."""

    def erased(self) -> AbstractSet[tuple[Value, Value]]:
        """Return the events of erased persons: (tenant, event id)."""
