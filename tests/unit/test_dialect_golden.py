"""Golden files of each dialect's SQL: a reviewer reads tests/golden, and sees a change of SQL in the diff.

`python -m tests.unit.test_dialect_golden` writes the files again.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType

import pytest
import sqlglot
from sqlglot import exp

from operations.databases.queries import Relation, in_postgres, in_source, in_sqlserver
from operations.databases.scope import Scope
from schemas.tables import EVENTS, ORDERS, Mode, Table, reported
from sinks.reporting import control
from sinks.reporting.cutoff import Cutoff
from sinks.reporting.port import Checkpoint, Partition
from sinks.reporting.postgres import cutover_sql as postgres_cutover_sql
from sinks.reporting.postgres import landing_sql as postgres_sql
from sinks.reporting.postgres import retention_sql as postgres_retiring_sql
from sinks.reporting.query import Query
from sinks.reporting.sqlserver import cutover_sql as sqlserver_cutover_sql
from sinks.reporting.sqlserver import landing_sql as sqlserver_sql
from sinks.reporting.sqlserver import retention_sql as sqlserver_retiring_sql

GOLDEN = Path(__file__).parents[1] / "golden"
GENERATION = 1
PARTITION, CHECKPOINT = Partition("topic", 0), Checkpoint(topic_id="id", next_offset=0, fence=1)
KEY, DAY, HELD = ("a", "b", "c", "d"), date(2026, 11, 1), ["held"]
DIALECTS: dict[str, tuple[ModuleType, str]] = {
    "postgres": (postgres_sql, "postgres"),
    "sqlserver": (sqlserver_sql, "tsql"),
}
LOOKING: dict[str, Callable[..., Relation]] = {"postgres": in_postgres, "sqlserver": in_sqlserver}
CUTOVER = {"postgres": postgres_cutover_sql, "sqlserver": sqlserver_cutover_sql}
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
RETIRING = {"postgres": postgres_retiring_sql, "sqlserver": sqlserver_retiring_sql}


def text(query: Query) -> str:
    """Return the SQL of a query, after a check that it has a parameter for each placeholder."""
    sql, parameters = query
    assert len(re.findall(r"%s|\?", sql)) == len(parameters)
    return sql


def statements(sql: ModuleType, table: Table) -> dict[str, str]:
    """Every statement of landing in one table, and of its readers' view."""
    cutover = postgres_cutover_sql if sql is postgres_sql else sqlserver_cutover_sql
    *drop, create = sql.create_stage(table, GENERATION)
    found = {
        "drop stage": drop[0] if drop else "",
        "create stage": create,
        "clear stage": sql.clear_stage(table),
        "load": sql.load_stage(table),
        "update": sql.update(table, GENERATION) if table.mode is Mode.STATE else "",
        "insert": sql.insert(table, GENERATION),
        "standing": text(sql.read_position(table, GENERATION, KEY[: len(table.key)])),
        "drop view": cutover.drop_view(table),
        "create view": cutover.create_view(table, GENERATION),
    }
    return {name: text for name, text in found.items() if text}


def checkpoints(sql: ModuleType) -> dict[str, str]:
    """Everything that is said about checkpoints."""
    return {
        "make checkpoint": text(sql.make_checkpoint(GENERATION, PARTITION, "id", 0)),
        "raise fence": text(sql.raise_fence(GENERATION, PARTITION)),
        "read checkpoint": text(sql.read_checkpoint(GENERATION, PARTITION)),
        "move checkpoints": text(sql.move_checkpoints(GENERATION, {PARTITION: CHECKPOINT})),
    }


def freshness(dialect: str) -> dict[str, str]:
    """Every statement of the readers' view of freshness."""
    sql = CUTOVER[dialect]
    return {"drop view": sql.drop_freshness_view(), "create view": sql.create_freshness_view(GENERATION)}


def cutover(dialect: str) -> dict[str, str]:
    """Every statement of a cutover beside those of the readers' views."""
    sql = CUTOVER[dialect]
    return {
        "take replay lock": sql.take_replay_lock(),
        "limit lock wait": sql.limit_lock_wait(100),
        "block landing": sql.block_landing(GENERATION),
        "list views": sql.list_views(),
    }


def described(dialect: str) -> dict[str, str]:
    """Every statement on the tables that describe generations."""
    key = {"tenant_id": "t", "event_day": date(2026, 11, 1), "event_id": "e"}
    row = {"tenant_id": "t", "order_month": date(2026, 11, 1), "order_id": "o", "_epoch": 1, "_deleted": False}
    kept = {"repaired_at": NOON, "repaired_by": "who", "row_key": "key", "old_row": "row"}
    found = {
        "read generations": control.read_generations(),
        "count generation tables": control.count_generation_tables(),
        "add generation": control.add_generation(2, "building", 1),
        "add first generation": control.add_first_generation(GENERATION),
        "set state": control.set_state(2, "live", NOON),
        "list schemas": control.list_schemas(),
        "list tables": control.list_tables(GENERATION),
        "list view columns": control.list_view_columns(),
        "drop table": control.drop_table(GENERATION, ORDERS.name),
        "drop schema": control.drop_schema(GENERATION),
        "read checkpoints": control.read_checkpoints(GENERATION),
        "read epochs": control.read_epochs(),
        "begin epoch": control.begin_epoch(2, reason="why", by="who", system=7, timeline=1),
        "end epoch": control.end_epoch(2, "why", NOON),
        "reopen epoch": control.reopen_epoch(2, "why", 1),
        "set timeline": control.set_timeline(2, 1),
        "read freshness": control.read_freshness(GENERATION, "complete_through"),
        "add freshness": control.add_freshness(GENERATION, ORDERS.name, "complete_through", NOON, NOON),
        "advance freshness": control.advance_freshness(GENERATION, ORDERS.name, "verified_through", NOON, NOON),
        "read reported freshness": control.read_reported_freshness(),
        "keep event": control.keep_row(EVENTS, GENERATION, key, kept),
        "delete event": control.delete_row(EVENTS, GENERATION, key),
        "mark deleted": control.mark_deleted(ORDERS, GENERATION, row, 7),
    }
    mark = {"postgres": "%s", "sqlserver": "?"}[dialect]
    assert all(text.count("%s") == len(parameters) for text, parameters in found.values())
    return {name: text.strip().replace("%s", mark) for name, (text, _) in found.items()}


def retiring(sql: ModuleType, table: Table) -> dict[str, str]:
    """Everything that is said about what ages out of one table."""
    if table.mode is Mode.EVENT:
        return events(sql, table)
    conditions = {
        "of month": sql.in_month(table, DAY, DAY, HELD),
        "deleted before": sql.deleted_before(table, DAY, HELD),
    }
    create, index = sql.create_deletion_list(table, GENERATION)
    listing = {
        "drop list": sql.drop_deletion_list(table),
        "create list": create,
        "index list": index,
        "load list": sql.load_deletion_list(table),
    } | {f"list {name}": text(sql.fill_deletion_list(table, GENERATION, each)) for name, each in conditions.items()}
    conditions["deleted"] = sql.deleted()
    deleting = {
        f"delete {name}": text(sql.delete_listed(table, GENERATION, each, 0, 10)) for name, each in conditions.items()
    }
    return listing | deleting


def events(sql: ModuleType, table: Table) -> dict[str, str]:
    """Everything that is said about events that age out or are erased."""
    found = {
        "event sums": text(sql.event_sums(table, GENERATION, DAY, HELD)),
        "event ids": text(sql.event_ids(table, GENERATION, DAY, "t", "")),
        "retire events": text(sql.retire_events(table, GENERATION, DAY, HELD)),
        "delete events": text(sql.delete_events(table, GENERATION, "t", HELD)),
    }
    if sql is sqlserver_retiring_sql:
        found |= {
            "drop gone": sql.drop_gone(table),
            "create gone": sql.create_gone(table, GENERATION),
            "gone sums": sql.gone_sums(table),
        }
    return found


def looking(dialect: str, table: Table) -> dict[str, str]:
    """Everything that verification asks about one table."""
    utf8 = {"knows_utf8": True} if dialect == "sqlserver" else {}
    asked = {"reporting": LOOKING[dialect](table, GENERATION, **utf8)}
    if dialect == "postgres":
        asked["source"] = in_source(table)
    first, last = (tuple(f"{end} {name}" for name in table.key) for end in ("first", "last"))
    month = date(2026, 11, 1)
    some = Scope(tenants=("t", "u"), months=(month, None), cutoff=Cutoff("part", month, frozenset({"held"})))
    found = {}
    for name, relation in asked.items():
        found |= {
            f"{name}: sums": relation.sums(Scope(since=month))[0],
            f"{name}: parts": relation.parts(replace(some, after=first, upto=last), [first, last])[0],
            f"{name}: bounds": relation.bounds(some, 100)[0],
            f"{name}: hashes": relation.hashes(some)[0],
            f"{name}: rows": relation.rows(Scope(keys=(first, last)))[0],
        }
    return found


def cutoffs(landing: ModuleType, sql: ModuleType) -> dict[str, str]:
    """Everything that is said about what all generations share."""
    names = ["set cutoff"] if sql is postgres_retiring_sql else ["move cutoff", "make cutoff"]
    setting = dict(zip(names, map(text, sql.set_cutoff(Cutoff("part", DAY))), strict=True))
    return {
        "read epochs": landing.read_epochs(),
        "read cutoffs": landing.read_cutoffs(),
        "lock cutoffs": sql.lock_cutoffs(),
        **setting,
        "erase events": text(sql.erase_events("t", HELD)),
        "generations": sql.generations(),
    }


def rendered(named: dict[str, str]) -> str:
    """Return the text as it is in a golden file."""
    return "\n".join(f"-- {name}\n{text}\n" for name, text in named.items())


FILES = {
    f"{dialect}/{name}.sql": (dialect, said)
    for dialect, (sql, _) in DIALECTS.items()
    for name, said in [
        (ORDERS.name, statements(sql, ORDERS)),
        (EVENTS.name, statements(sql, EVENTS)),
        ("checkpoint", checkpoints(sql)),
        ("retiring_orders", retiring(RETIRING[dialect], ORDERS)),
        ("retiring_events", retiring(RETIRING[dialect], EVENTS)),
        ("cutoff", cutoffs(sql, RETIRING[dialect])),
        ("looking_orders", looking(dialect, ORDERS)),
        ("looking_events", looking(dialect, EVENTS)),
        ("freshness", freshness(dialect)),
        ("cutover", cutover(dialect)),
        ("control", described(dialect)),
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
        for name, text in (
            statements(sql, table)
            | checkpoints(sql)
            | freshness(dialect)
            | aged(dialect, table)
            | looking(dialect, table)
        ).items()
    ] + [
        (dialect, f"reporting: {name}", text)
        for dialect in DIALECTS
        for name, text in (cutover(dialect) | described(dialect)).items()
    ]


def aged(dialect: str, table: Table) -> dict[str, str]:
    sql = RETIRING[dialect]
    return cutoffs(DIALECTS[dialect][0], sql) | (retiring(sql, table) if table.ages_by else {})


@pytest.mark.parametrize(
    ("dialect", "name", "text"), [pytest.param(*each, id=" ".join(each[:2])) for each in _everything()]
)
def test_every_statement_parses_in_its_dialect(dialect: str, name: str, text: str) -> None:
    text = re.sub(r"^OUTPUT .*$", "", text, flags=re.MULTILINE)  # sqlglot does not know it in a DELETE
    parsed = sqlglot.parse(text.replace("%s", "NULL").replace("%%", "%"), read=DIALECTS[dialect][1])
    assert parsed
    understood = [each for each in parsed if each is not None and not isinstance(each, exp.Command)]
    assert understood or name.endswith(("load", "load list", "clear stage", "lock cutoffs", "block landing")), (
        "sqlglot took it for an opaque command"
    )


@pytest.mark.parametrize("table", reported(), ids=lambda table: table.name)
def test_readers_see_neither_system_columns_nor_deleted_rows(table: Table) -> None:
    for dialect, (_, read) in DIALECTS.items():
        (view,) = sqlglot.parse(CUTOVER[dialect].create_view(table, GENERATION), read=read)
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
