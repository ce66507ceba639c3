"""What each database is told, word for word: a reviewer reads tests/golden, and a change of it is seen in the diff.

`python tests/unit/test_dialect_golden.py` writes the files anew.
"""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import sqlglot
from sqlglot import exp

from schemas.tables import EVENTS, ORDERS, Mode, Table, reported
from sinks import postgres_sql, sqlserver_sql

GOLDEN = Path(__file__).parents[1] / "golden"
GENERATION = 1
DIALECTS: dict[str, tuple[ModuleType, str]] = {
    "postgres": (postgres_sql, "postgres"),
    "sqlserver": (sqlserver_sql, "tsql"),
}


def statements(sql: ModuleType, table: Table) -> dict[str, str]:
    """Everything that is said about one table."""
    load: Callable[[Table], str] = sql.copy if sql is postgres_sql else sql.load
    found = {
        "drop stage": sql.drop_stage(table) if sql is sqlserver_sql else "",
        "create stage": sql.create_stage(table, GENERATION),
        "clear stage": sql.clear_stage(table),
        "load": load(table),
        "update": sql.update(table, GENERATION) if table.mode is Mode.STATE else "",
        "insert": sql.insert(table, GENERATION),
        "drop view": sql.drop_view(table),
        "create view": sql.create_view(table, GENERATION),
    }
    return {name: text for name, text in found.items() if text}


def checkpoints(sql: ModuleType) -> dict[str, str]:
    """Everything that is said about checkpoints."""
    return {
        "make checkpoint": sql.make_checkpoint(GENERATION),
        "raise fence": sql.raise_fence(GENERATION),
        "read checkpoint": sql.read_checkpoint(GENERATION),
        "move checkpoints": sql.move_checkpoints(GENERATION),
    }


def rendered(named: dict[str, str]) -> str:
    """As it stands in a golden file."""
    return "\n".join(f"-- {name}\n{text}\n" for name, text in named.items())


FILES = {
    f"{dialect}/{name}.sql": (dialect, said)
    for dialect, (sql, _) in DIALECTS.items()
    for name, said in [
        (ORDERS.name, statements(sql, ORDERS)),
        (EVENTS.name, statements(sql, EVENTS)),
        ("checkpoint", checkpoints(sql)),
    ]
}


@pytest.mark.parametrize("name", FILES)
def test_a_database_is_told_exactly_what_its_golden_file_says(name: str) -> None:
    assert rendered(FILES[name][1]) == (GOLDEN / name).read_text()


def _everything() -> list[tuple[str, str, str]]:
    return [
        (dialect, f"{table.name}: {name}", text)
        for dialect, (sql, _) in DIALECTS.items()
        for table in reported()
        for name, text in (statements(sql, table) | checkpoints(sql)).items()
    ]


@pytest.mark.parametrize(
    ("dialect", "name", "text"), [pytest.param(*each, id=" ".join(each[:2])) for each in _everything()]
)
def test_every_statement_parses_in_its_dialect(dialect: str, name: str, text: str) -> None:
    parsed = sqlglot.parse(text.replace("%s", "NULL"), read=DIALECTS[dialect][1])
    assert parsed
    understood = [each for each in parsed if each is not None and not isinstance(each, exp.Command)]
    assert understood or name.endswith(("load", "clear stage")), "sqlglot took it for an opaque command"


@pytest.mark.parametrize("table", reported(), ids=lambda table: table.name)
def test_readers_see_neither_system_columns_nor_deleted_rows(table: Table) -> None:
    for sql, read in DIALECTS.values():
        (view,) = sqlglot.parse(sql.create_view(table, GENERATION), read=read)
        assert view is not None
        columns = [column.name for column in view.find_all(exp.Select).__next__().selects]
        assert columns == [column.name for column in table.all_columns]
        hidden = {column.name for where in view.find_all(exp.Where) for column in where.find_all(exp.Column)}
        expected = {"_deleted"} if table.mode is Mode.STATE else set()
        assert hidden == expected | ({table.soft_deleted} if table.soft_deleted else set())


def test_sql_server_is_never_told_to_merge() -> None:
    assert all("MERGE" not in text.upper() for dialect, _, text in _everything() if dialect == "sqlserver")


if __name__ == "__main__":
    for file, (_, said) in FILES.items():
        path = GOLDEN / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered(said))
