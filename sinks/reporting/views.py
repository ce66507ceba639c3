"""Statements that give readers their views of a generation: at a cutover all of them, at a migration those that lack.

The readers' views, in schema `report`, are one for each table and one of each table's freshness. Text only.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from schemas.errors import HeadraceError
from schemas.tables import Table, reported

FRESHNESS = "freshness"


class CutoverSql(Protocol):
    """A database's statements for a cutover: sinks/reporting/{postgres,sqlserver}/cutover_sql.py."""

    def take_replay_lock(self) -> str: ...
    def limit_lock_wait(self, milliseconds: int) -> str: ...
    def block_landing(self, generation: int) -> str: ...
    def list_views(self) -> str: ...
    def drop_view(self, table: Table) -> str: ...
    def create_view(self, table: Table, generation: int) -> str: ...
    def drop_freshness_view(self) -> str: ...
    def create_freshness_view(self, generation: int) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoverDialect:
    """A database's statements for a cutover, and the function that classifies its driver's errors."""

    sql: CutoverSql
    classify: Callable[[BaseException], HeadraceError]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One readers' view: its name, its columns, and the statements that drop and create it.

    `columns` is empty for a view whose columns never change.
    """

    name: str
    columns: Sequence[str]
    drop: str
    create: str


def views(sql: CutoverSql, generation: int) -> list[View]:
    """Return every readers' view as it shows a generation."""
    of_tables = [
        View(
            name=table.name,
            columns=[column.name for column in table.all_columns],
            drop=sql.drop_view(table),
            create=sql.create_view(table, generation),
        )
        for table in reported()
    ]
    freshness = View(
        name=FRESHNESS,
        columns=[],
        drop=sql.drop_freshness_view(),
        create=sql.create_freshness_view(generation),
    )
    return [*of_tables, freshness]


def swap(sql: CutoverSql, generation: int) -> list[str]:
    """Return the statements that make readers see a generation.

    Not CREATE OR REPLACE: columns may have changed, and Babelfish has no CREATE OR ALTER.
    """
    return [statement for view in views(sql, generation) for statement in (view.drop, view.create)]


def outdated(
    wanted: Sequence[View], definitions: Mapping[str, str], columns: Mapping[str, Sequence[str]]
) -> list[View]:
    """Return the views that do not exist, or that lack a column which the table got later.

    Args:
        wanted: The views that readers should have.
        definitions: The definition of each view that exists.
        columns: The columns of each view that exists, in order.
    """
    return [
        view
        for view in wanted
        if view.name not in definitions or (view.columns and list(columns[view.name]) != list(view.columns))
    ]


def shown_generations(definitions: Mapping[str, str]) -> set[int]:
    """Return the generations that views with these definitions show."""
    return {int(number) for text in definitions.values() for number in re.findall(r"reporting_g(\d+)", text)}
