"""The databases' guard is the rule in schemas/position.py, pair by pair: every combination of small positions."""

from itertools import product

from schemas.position import Position
from sinks.reporting.postgres import landing_sql as postgres_sql
from sinks.reporting.sqlserver import landing_sql as sqlserver_sql
from sinks.reporting.staging import POSITION, READ
from tests.support.stores import SqlStore

STAGED = [
    Position(epoch, offset, version, (commit, change), read)
    for epoch, offset, version, commit, change, read in product((1, 2), range(3), (0, 1), (0, 1), (0, 1), (False, True))
]
LANDED = [each for each in STAGED if not each.read]
_DIALECTS = {
    "postgres": (postgres_sql, '"{}"', "true"),
    "sqlserver": (sqlserver_sql, "[{}]", "CAST(1 AS BIT)"),
}


def _values(alias: str, positions: list[Position], name: str, true: str) -> str:
    columns = ", ".join(name.format(column) for column in ("id", *POSITION, READ))
    rows = (
        f"({n}, {at.epoch}, {at.offset}, {at.version}, {at.log[0]}, {at.log[1]}, "
        f"{true if at.read else true.replace('true', 'false').replace('(1', '(0')})"
        for n, at in enumerate(positions)
    )
    return f"(VALUES {', '.join(rows)}) AS {alias} ({columns})"


def _pairs(store: SqlStore, condition: str) -> set[tuple[int, int]]:
    _, name, true = _DIALECTS[store.name]
    staged, landed = _values("s", STAGED, name, true), _values("t", LANDED, name, true)
    ids = f"s.{name.format('id')}, t.{name.format('id')}"
    cursor = store.connection.cursor()
    cursor.execute(f"SELECT {ids} FROM {staged} CROSS JOIN {landed} WHERE {condition}")
    return {(one, other) for one, other in cursor.fetchall()}


def test_the_guard_is_wins_over(database: SqlStore) -> None:
    expected = {
        (one, other)
        for (one, staged), (other, landed) in product(enumerate(STAGED), enumerate(LANDED))
        if staged.wins_over(landed)
    }
    assert _pairs(database, _DIALECTS[database.name][0].GUARD) == expected


def test_the_log_position_that_stays_is_that_of_replacing(database: SqlStore) -> None:
    expected = {
        (one, other)
        for (one, staged), (other, landed) in product(enumerate(STAGED), enumerate(LANDED))
        if staged.replacing(landed).log != staged.log
    }
    assert _pairs(database, _DIALECTS[database.name][0].KEEPS_LOG) == expected
