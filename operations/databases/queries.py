"""Queries for rows, hashes and sums, in either dialect: text and parameters only, golden files in tests/golden.

Opens nothing. A parameter is marked `%s`; a `%` of SQL's own is doubled. Deleted rows are left out, except by `places`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Protocol

from operations.databases.scope import Scope
from operations.months import month
from schemas.change import Key, Value
from schemas.generations import schema
from schemas.tables import Column, Mode, Table
from schemas.types import Type
from sinks.reporting.cutoff import TENANT
from sinks.reporting.postgres import checksum_sql as postgres_sums_sql
from sinks.reporting.sqlserver import checksum_sql as sqlserver_sums_sql
from sinks.reporting.staging import SYSTEM

Query = tuple[str, list[Value]]


class Dialect(Protocol):
    """The functions of sinks/reporting/*/checksum_sql.py that verification calls."""

    COUNT: str

    def plain(self, column: Column) -> str: ...
    def row_text(self, fields: list[tuple[str, Type]]) -> str: ...
    def total(self, hashed: str) -> str: ...
    def month(self, day: str) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A table in one database.

    Attributes:
        name: The table's qualified name.
        columns: The columns that the database has.
        expression: A column's value, for comparing and ordering.
        equal: A column, for finding rows by value through an index.
        dated: A date column, for conditions that select partitions.
        alive: The condition that a row is not deleted; None where rows are never marked as deleted.
        dialect: The database's expressions for checksums.
        text_hash: The expression that hashes a text.
    """

    table: Table
    name: str
    columns: Sequence[Column]
    expression: Callable[[Column], str]
    equal: Callable[[Column], str]
    dated: Callable[[Column], str]
    alive: str | None
    dialect: Dialect
    text_hash: Callable[[str], str]

    def rows(self, scope: Scope) -> Query:
        """Select the values of the columns."""
        where, parameters = self._where(scope)
        return f"SELECT {', '.join(map(self.expression, self.columns))}\nFROM {self.name}{where}", parameters

    def texts(self, scope: Scope, columns: Sequence[str]) -> Query:
        """Select the values of `columns`, then the row's canonical text."""
        where, parameters = self._where(scope)
        values = ", ".join(map(self._value, columns))
        return f"SELECT {values},\n    {self._text()} AS canonical\nFROM {self.name}{where}", parameters

    def hashes(self, scope: Scope) -> Query:
        """Select the key, then the hash of the row's canonical text."""
        where, parameters = self._where(scope)
        key = ", ".join(map(self._value, self.table.key))
        return f"SELECT {key},\n    {self.text_hash(self._text())} AS hashed\nFROM {self.name}{where}", parameters

    def places(self, scope: Scope) -> Query:
        """Select the key, then where the row has landed, of deleted rows too."""
        where, parameters = replace(self, alive=None)._where(scope)
        columns = ", ".join([*map(self._value, self.table.key), *SYSTEM])
        return f"SELECT {columns}\nFROM {self.name}{where}", parameters

    def sums(self, scope: Scope) -> Query:
        """Select tenant, month, count and sum of the hashes of each group."""
        where, parameters = self._where(scope)
        day = self.table.ages_by
        first = "CAST(NULL AS DATE)" if day is None else self.dialect.month(self._value(day))
        groups = f"{self._value(TENANT)} AS tenant, {first} AS first_day"
        return self._summed("e.tenant, e.first_day", groups, where), parameters

    def parts(self, scope: Scope, bounds: Sequence[Key]) -> Query:
        """Select number, count and sum of the hashes of each part of the scope, split after each of `bounds`."""
        where, parameters = self._where(scope)
        cases = [self._compared("<=", bound) for bound in bounds]
        numbered = "\n        ".join(f"WHEN {case} THEN {number}" for number, (case, _) in enumerate(cases))
        part = f"CASE\n        {numbered}\n        ELSE {len(bounds)} END AS part"
        sql = self._summed("e.part", part, where)
        return sql, [*chain.from_iterable(values for _, values in cases), *parameters]

    def bounds(self, scope: Scope, step: int) -> Query:
        """Select the key of every `step`-th row, in the order of keys."""
        where, parameters = self._where(scope)
        key = [self._value(name) for name in self.table.key]
        named = ", ".join(f"{value} AS k{number}" for number, value in enumerate(key))
        listed = ", ".join(f"e.k{number}" for number in range(len(key)))
        place = f"ROW_NUMBER() OVER (ORDER BY {', '.join(key)}) AS place"
        return (
            f"SELECT {listed}\nFROM (\n    SELECT {named}, {place}\n    FROM {self.name}{where}\n) AS e\n"
            f"WHERE e.place %% {step} = 0\nORDER BY e.place"
        ), parameters

    def _summed(self, by: str, groups: str, where: str) -> str:
        return (
            f"SELECT {by}, {self.dialect.COUNT}, {self.dialect.total('e.hashed')}\n"
            f"FROM (\n    SELECT {groups},\n        {self.text_hash(self._text())} AS hashed\n"
            f"    FROM {self.name}{where}\n) AS e\nGROUP BY {by}"
        )

    def _text(self) -> str:
        return self.dialect.row_text([(self.expression(column), column.type) for column in self.columns])

    def _value(self, name: str) -> str:
        return self.expression(self.table.column(name))

    def _stored(self, name: str) -> str:
        return self.equal(self.table.column(name))

    def _where(self, scope: Scope) -> Query:
        conditions = self._conditions(scope)
        if not conditions:
            return "", []
        where = "\n    WHERE " + "\n        AND ".join(condition for condition, _ in conditions)
        return where, list(chain.from_iterable(values for _, values in conditions))

    def _conditions(self, scope: Scope) -> "list[Query]":
        found: list[Query] = [(self.alive, [])] if self.alive else []
        if scope.tenants is not None:
            found.append((f"{self._stored(TENANT)} IN ({_marks(scope.tenants)})", [*scope.tenants]))
        if self.table.ages_by is not None:
            found += self._aged(scope, self.dated(self.table.column(self.table.ages_by)))
        if scope.after is not None:
            found.append(self._compared(">", scope.after))
        if scope.upto is not None:
            found.append(self._compared("<=", scope.upto))
        if scope.keys is not None:
            one = " AND ".join(f"{self._stored(name)} = %s" for name in self.table.key)
            any_of = " OR ".join([f"({one})"] * len(scope.keys))
            found.append((f"({any_of})", [*chain.from_iterable(scope.keys)]))
        return found

    def _aged(self, scope: Scope, day: str) -> "list[Query]":
        found: list[Query] = []
        if scope.months is not None:
            firsts = [first for first in scope.months if first is not None]
            terms = [f"({day} >= %s AND {day} < %s)"] * len(firsts)
            terms += [f"{day} IS NULL"] * (None in scope.months)
            found.append((f"({' OR '.join(terms)})", [each for first in firsts for each in (first, month(first, 1))]))
        if scope.since is not None:
            found.append((f"{day} >= %s", [scope.since]))
        if (cutoff := scope.cutoff) is not None:
            held = sorted(cutoff.held)
            unless = f" AND {self._stored(TENANT)} NOT IN ({_marks(held)})" if held else ""
            aged = f"CASE WHEN {day} < %s{unless} THEN 1 ELSE 0 END = 0"  # a row without a date hasn't aged
            found.append((aged, [cutoff.before, *held]))
        return found

    def _compared(self, operator: str, bound: Key) -> Query:
        """Compare the key: is it `operator` (`>` or `<=`) `bound`, column by column: T-SQL compares no rows."""
        strict = operator[0]
        *names, last = self.table.key
        *values, end = bound
        condition, parameters = f"{self._value(last)} {operator} %s", [end]
        for name, value in zip(reversed(names), reversed(values), strict=True):
            column = self._value(name)
            condition = f"({column} {strict} %s OR ({column} = %s AND {condition}))"
            parameters = [value, value, *parameters]
        return condition, parameters


def in_source(table: Table) -> Relation:
    """Return a table of the source, by whose session in UTC an instant is compared with a day."""
    return Relation(
        table=table,
        name=f"{table.schema}.{table.relation}",
        columns=table.columns,
        expression=lambda column: _day(column) or postgres_sums_sql.plain(column),
        equal=lambda column: _day(column) or _quoted(column),
        dated=lambda column: column.day_of or _quoted(column),
        alive=None,
        dialect=postgres_sums_sql,
        text_hash=postgres_sums_sql.text_hash,
    )


def in_postgres(table: Table, generation: int) -> Relation:
    """Return a table of a generation of reporting, in Postgres."""
    return Relation(
        table=table,
        name=f"{schema(generation)}.{table.name}",
        columns=table.all_columns,
        expression=postgres_sums_sql.plain,
        equal=_quoted,
        dated=_quoted,
        alive="NOT _deleted" if table.mode is Mode.STATE else None,
        dialect=postgres_sums_sql,
        text_hash=postgres_sums_sql.text_hash,
    )


def in_sqlserver(table: Table, generation: int, *, knows_utf8: bool) -> Relation:
    """Return a table of a generation of reporting, in SQL Server."""
    return Relation(
        table=table,
        name=f"{schema(generation)}.{table.name}",
        columns=table.all_columns,
        expression=sqlserver_sums_sql.plain,
        equal=sqlserver_sums_sql.plain,
        dated=sqlserver_sums_sql.plain,
        alive="_deleted = 0" if table.mode is Mode.STATE else None,
        dialect=sqlserver_sums_sql,
        text_hash=sqlserver_sums_sql.text_hash if knows_utf8 else sqlserver_sums_sql.own_text_hash,
    )


def _day(column: Column) -> str | None:
    """Return the expression of a day that the source does not store; None for a column that it stores."""
    return f"({column.day_of} AT TIME ZONE 'UTC')::date" if column.day_of else None


def _quoted(column: Column) -> str:
    return f'"{column.name}"'


def _marks(values: Sequence[Value]) -> str:
    return ", ".join(["%s"] * len(values))
