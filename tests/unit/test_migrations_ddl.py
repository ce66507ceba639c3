"""The migrations' SQL is written by hand: compare it with schemas/tables.py, and lint it."""

import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sqlglot
from bson import json_util
from sqlglot import exp

import migrations
from migrations.errors import ForwardOnly
from migrations.sql_files import batches
from schemas.tables import TABLES, Column, Mode, Source, Table, reported
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp, Type, Uuid

ROOT = Path(migrations.__file__).parent
CHAINS = ("oltp", "reporting/postgres", "reporting/sqlserver")
SYSTEM_COLUMNS = (
    Column(name="_epoch", type=Integer()),
    Column(name="_offset", type=Integer(big=True)),
    Column(name="_version", type=Integer(big=True)),
    Column(name="_log_commit", type=Integer(big=True)),
    Column(name="_log_change", type=Integer(big=True)),
    Column(name="_deleted", type=Boolean()),
    Column(name="_source_time", type=Timestamp()),
)


def source_type(type_: Type) -> str:
    match type_:
        case Json():
            return "JSONB"
        case Uuid():
            return "UUID"
        case _:
            return postgres_type(type_)


def postgres_type(type_: Type) -> str:
    match type_:
        case Text(length=int(length)):
            return f"VARCHAR({length})"
        case Text() | Json():
            return "TEXT"
        case Uuid():
            return "VARCHAR(36)"
        case Numeric(precision=precision, scale=scale):
            return f"DECIMAL({precision}, {scale})"
        case Integer(big=big):
            return "BIGINT" if big else "INT"
        case Boolean():
            return "BOOLEAN"
        case Date():
            return "DATE"
        case Timestamp():
            return "TIMESTAMPTZ"


def tsql_type(type_: Type) -> str:
    match type_:
        case Text(length=int(length)):
            return f"NVARCHAR({length})"
        case Text() | Json():
            return "NVARCHAR(MAX)"
        case Uuid():
            return "NCHAR(36)"
        case Numeric(precision=precision, scale=scale):
            return f"NUMERIC({precision}, {scale})"
        case Integer(big=big):
            return "BIGINT" if big else "INTEGER"
        case Boolean():
            return "BIT"
        case Date():
            return "DATE"
        case Timestamp():
            return "DATETIME2(6)"


class Created:
    """Parse one CREATE TABLE."""

    def __init__(self, create: exp.Create, dialect: str) -> None:
        columns = list(create.this.find_all(exp.ColumnDef))
        self.names = [column.name for column in columns]
        self.types = {column.name: column.kind.sql(dialect).upper() for column in columns}
        self.not_null = {
            column.name
            for column in columns
            for constraint in column.find_all(exp.NotNullColumnConstraint)
            if not constraint.args.get("allow_null")
        }
        self.collations = {
            c.find_ancestor(exp.ColumnDef).name: c.this.name for c in create.find_all(exp.CollateColumnConstraint)
        }
        self.key = tuple(part.name for key in create.find_all(exp.PrimaryKey) for part in key.expressions)
        self.required = {
            column.name
            for constraint in create.find_all(exp.Constraint)
            if constraint.name.endswith("_complete")
            for column in constraint.find_all(exp.Column)
            if column.find_ancestor(exp.Is)
        }


@cache
def created(chain: str, dialect: str) -> dict[str, Created]:
    """The tables that a chain makes, by name."""
    return {
        statement.this.this.name: Created(statement, dialect)
        for path in sql_files(chain)
        for batch in batches(path.read_text())
        for statement in sqlglot.parse(batch, dialect=dialect)
        if isinstance(statement, exp.Create) and statement.kind == "TABLE" and isinstance(statement.this, exp.Schema)
    }


def sql_files(chain: str) -> list[Path]:
    return sorted((ROOT / chain / "versions").glob("*.sql"))


def revisions(chain: str) -> list[ModuleType]:
    found = []
    for path in sorted((ROOT / chain / "versions").glob("*.py")):
        spec = spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        module = module_from_spec(spec)
        spec.loader.exec_module(module)
        found.append(module)
    return found


@pytest.fixture(autouse=True)
def quiet_parser(caplog: pytest.LogCaptureFixture) -> None:
    """sqlglot warns of statements that it only carries along, such as GRANT."""
    caplog.set_level("ERROR", logger="sqlglot")


@pytest.mark.parametrize("table", [t for t in TABLES if t.source is Source.POSTGRES], ids=lambda t: t.name)
def test_a_source_table_is_as_declared(table: Table) -> None:
    found = created("oltp", "postgres")[table.relation]
    assert found.names == [column.name for column in table.columns]
    assert found.types == {column.name: source_type(column.type) for column in table.columns}
    assert found.not_null == {column.name for column in table.columns if not column.nullable}
    assert found.key == table.key


def test_the_outbox_holds_what_an_event_needs() -> None:
    (events,) = (table for table in TABLES if table.source is Source.OUTBOX)
    columns = [column for column in events.columns if column.name != "event_day"]  # made of occurred_at
    found = created("oltp", "postgres")[events.relation]
    assert set(found.names) == {column.name for column in columns} | {"headers"}
    assert {name: found.types[name] for name in found.names if name != "headers"} == {
        column.name: source_type(column.type) for column in columns
    }
    assert found.not_null == {column.name for column in columns if not column.nullable} | {"headers"}


@pytest.mark.parametrize("table", [t for t in TABLES if t.source is Source.OUTBOX], ids=lambda t: t.name)
def test_the_outbox_takes_the_declared_aggregates_only(table: Table) -> None:
    text = next(path for path in sql_files("oltp") if path.stem == "0002_sales").read_text()
    listed = ", ".join(f"'{aggregate}'" for aggregate in table.aggregates)
    assert f"CHECK (aggregate_type IN ({listed}))" in text


@pytest.mark.parametrize("table", reported(), ids=lambda t: t.name)
@pytest.mark.parametrize(
    ("chain", "dialect", "typed", "collation"),
    [
        ("reporting/postgres", "postgres", postgres_type, "C"),
        ("reporting/sqlserver", "tsql", tsql_type, "Latin1_General_100_BIN2"),
    ],
    ids=["postgres", "sqlserver"],
)
def test_a_reporting_table_is_as_declared(
    table: Table, chain: str, dialect: str, typed: Callable[[Type], str], collation: str
) -> None:
    found = created(chain, dialect)[table.name]
    system = SYSTEM_COLUMNS if table.mode is Mode.STATE else ()
    columns = (*table.all_columns, *system)
    required = {column.name for column in table.all_columns if not column.nullable} - set(table.key)
    always = set(table.key) | {column.name for column in system}
    assert found.names == [column.name for column in columns]
    assert found.types == {column.name: typed(column.type) for column in columns}
    assert found.key == table.key
    if table.mode is Mode.STATE:  # a deleted row may have nothing but its key and its place
        assert (found.not_null, found.required) == (always, required)
    else:
        assert (found.not_null, found.required) == (always | required, set())
    assert found.collations == {
        name: collation for name in table.key if isinstance(table.column(name).type, Text | Uuid)
    }


@pytest.mark.parametrize("chain", ["reporting/postgres", "reporting/sqlserver"])
def test_a_generation_is_named_by_its_placeholder_only(chain: str) -> None:
    for path in sql_files(chain):
        for batch in batches(path.read_text(), generation="reporting_g7"):
            assert "reporting_gN" not in batch
            assert set(re.findall(r"reporting_g\w+", batch)) <= {"reporting_g7"}


@pytest.mark.parametrize("path", sql_files("reporting/sqlserver"), ids=lambda p: p.stem)
def test_t_sql_parses_and_is_of_the_kind_that_babelfish_knows_too(path: Path) -> None:
    for batch in batches(path.read_text()):
        assert all(statement is not None for statement in sqlglot.parse(batch, dialect="tsql"))
        if "\nIF SERVERPROPERTY('Babelfish') IS NULL\n    EXEC (" not in batch:
            assert not re.search(r"\b(MERGE|DENY|SYNONYM|ALTER\s+VIEW|OR\s+ALTER|db_data\w+)\b", batch, re.IGNORECASE)


def test_go_splits_batches_and_is_not_sent() -> None:
    assert list(batches("SELECT 1;\nGO\n\nSELECT 'GO';\ngo ;\n")) == ["SELECT 1;", "SELECT 'GO';"]


@pytest.mark.parametrize("chain", CHAINS)
def test_each_revision_follows_the_one_before_and_has_its_sql(chain: str) -> None:
    found = revisions(chain)
    numbers = [revision.__name__[:4] for revision in found]
    assert [revision.revision for revision in found] == numbers
    assert [revision.down_revision for revision in found] == [None, *numbers[:-1]]
    assert [path.stem for path in sql_files(chain)] == [revision.__name__ for revision in found]


@pytest.mark.parametrize("chain", CHAINS)
def test_going_back_is_refused_with_a_reason(chain: str) -> None:
    for revision in revisions(chain):
        with pytest.raises(ForwardOnly, match=rf"{chain}/{revision.__name__}\.sql: migrations only go forward"):
            revision.downgrade()


@pytest.mark.parametrize("chain", ["oltp", "reporting/postgres"])
def test_the_linter_finds_nothing_unsafe(chain: str) -> None:
    without = (
        "prefer-text-field",  # a width is a promise to reporting, which has it too
        "prefer-bigint-over-int",  # schemas/tables.py decides
        "require-lock-timeout",  # every migration's connection has one
        "require-statement-timeout",  # an index on a large table may take its time; locks don't
    )
    command = [
        str(Path(sys.executable).with_name("squawk")), "--assume-in-transaction", "--pg-version=18",
        f"--exclude={','.join(without)}", *map(str, sql_files(chain)),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def functions(text: str) -> dict[str, str]:
    """Each function that a file makes: its head, up to its body."""
    heads = re.findall(r"^CREATE FUNCTION sales\.(\w+)(.*?)(?:AS \$\$|^RETURN )", text, re.MULTILINE | re.DOTALL)
    return dict(heads)


@pytest.mark.parametrize("path", sql_files("oltp"), ids=lambda p: p.stem)
def test_a_function_finds_nothing_that_its_caller_has_put_in_its_way(path: Path) -> None:
    for name, head in functions(path.read_text()).items():
        resolved_already = "LANGUAGE sql IMMUTABLE" in head  # a body after RETURN is parsed when it is made
        assert resolved_already or "SET search_path = pg_catalog, pg_temp" in head, name


def test_a_function_that_runs_with_the_owners_rights_is_granted_by_name_only() -> None:
    text = next(path for path in sql_files("oltp") if path.stem == "0006_retention").read_text()
    definers = {name for name, head in functions(text).items() if "SECURITY DEFINER" in head}
    made, granted = text.split("REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA sales FROM PUBLIC;")
    assert "CREATE FUNCTION" not in granted
    assert "GRANT EXECUTE" not in made
    assert set(re.findall(r"^    sales\.(\w+)\(", granted, re.MULTILINE)) == definers | {"make_partitions"}


BSON_TYPES: dict[type[Type], str] = {Text: "string", Numeric: "decimal", Integer: "int", Timestamp: "date"}


@pytest.mark.parametrize("table", [t for t in TABLES if t.source is Source.MONGODB], ids=lambda t: t.name)
def test_a_collection_accepts_what_is_declared_and_nothing_else(table: Table) -> None:
    schema = catalog_command("create", table.name)["validator"]["$jsonSchema"]
    names = [column.name for column in table.columns]
    assert schema["required"] == ["_id", *names]
    assert schema["additionalProperties"] is False
    assert list(schema["properties"]) == ["_id", *names]
    for column in table.columns:
        rule = schema["properties"][column.name]
        assert rule["bsonType"] == BSON_TYPES[type(column.type)]
        if isinstance(column.type, Text):
            assert rule.get("maxLength") == column.type.length or "pattern" in rule
    assert schema["properties"]["_id"]["required"] == list(table.key)


@pytest.mark.parametrize("table", [t for t in TABLES if t.source is Source.MONGODB], ids=lambda t: t.name)
def test_a_collection_is_unique_on_its_key(table: Table) -> None:
    (index,) = catalog_command("createIndexes", table.name)["indexes"]
    assert (tuple(index["key"]), index["unique"]) == (table.key, True)


def catalog_command(name: str, collection: str) -> dict[str, Any]:
    (found,) = (
        command
        for path in sorted((ROOT / "catalog").glob("*.json"))
        for command in json_util.loads(path.read_text())
        if command.get(name) == collection
    )
    return dict(found)
