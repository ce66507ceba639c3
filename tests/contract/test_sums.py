"""The same row has the same hash, whichever database computes it, and Python has it too (schemas/checksums.py)."""

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operations.databases.database import Database
from operations.databases.queries import Relation, in_postgres, in_sqlserver
from operations.databases.scope import Scope, key_of
from schemas.checksums import Sum, compared_text, text_hash
from schemas.tables import Column, Source, Table
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp, Uuid
from tests.support.stores import SqlStore

TABLE = Table(
    name="sums",
    source=Source.POSTGRES,
    schema="sales",
    key=("tenant_id", "number"),
    columns=(
        Column(name="tenant_id", type=Text(64)),
        Column(name="number", type=Integer()),
        *(
            Column(name=name, type=type_, nullable=True)
            for name, type_ in {
                "short": Text(20),
                "long": Text(),
                "amount": Numeric(19, 4),
                "wide": Numeric(38, 0),
                "big": Integer(big=True),
                "yes": Boolean(),
                "day": Date(),
                "at": Timestamp(),
                "document": Json(),
                "id": Uuid(),
            }.items()
        ),
    ),
    ages_by="day",
)
TYPES = {
    "postgres": (
        "tenant_id varchar(64), number integer, short varchar(20), long text, amount numeric(19,4), "
        "wide numeric(38,0), big bigint, yes boolean, day date, at timestamptz, document jsonb, id uuid"
    ),
    "sqlserver": (
        "[tenant_id] NVARCHAR(64) COLLATE Latin1_General_100_BIN2, [number] INT, [short] NVARCHAR(20), "
        "[long] NVARCHAR(MAX), [amount] DECIMAL(19, 4), [wide] DECIMAL(38, 0), [big] BIGINT, [yes] BIT, [day] DATE, "
        "[at] DATETIME2(6), [document] NVARCHAR(MAX), [id] NVARCHAR(36)"
    ),
}
BIGGEST = 10**15 - 1
TEXT = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from("\x1f~= "), max_size=8
)
VALUES = (
    st.sampled_from(["a", "b"]),
    TEXT,
    TEXT,
    st.decimals(-BIGGEST, BIGGEST, places=4),
    st.decimals(-(10**37), 10**37, places=0),
    st.integers(-(2**63), 2**63 - 1),
    st.booleans(),
    st.dates(),
    st.datetimes(timezones=st.just(UTC)),
    st.sampled_from(['{"a": 1.50, "é": "\\u001f"}', "[]", "null"]),
    st.uuids().map(str),
)
ROWS = st.lists(st.tuples(VALUES[0], *(st.none() | each for each in VALUES[1:])), max_size=4)
NULLS = (None,) * 10


def relation(name: str) -> Relation:
    """Return the table of this test, which belongs to the connection."""
    found = in_postgres(TABLE, 1) if name == "postgres" else in_sqlserver(TABLE, 1, knows_utf8=False)
    return replace(found, name="pg_temp.sums" if name == "postgres" else "#sums", alive=None)


@pytest.fixture
def filled(database: SqlStore):
    """Return a function from rows to a side that has them."""
    connection = database.connection
    name = "#sums" if database.name == "sqlserver" else "pg_temp.sums"
    cursor = connection.cursor()
    cursor.execute(f"CREATE TABLE {name} ({TYPES[database.name]})")
    asked = relation(database.name)
    if database.name == "sqlserver":
        casts = ["?"] * 4 + [
            "CAST(? AS DECIMAL(19, 4))",
            "CAST(? AS DECIMAL(38, 0))",
            "CAST(? AS BIGINT)",
            "CAST(? AS BIT)",
        ]
        casts += ["CAST(? AS DATE)", "CAST(? AS DATETIME2(6))", "?", "?"]
    else:
        casts = ["%s"] * len(TABLE.columns)
    insert = f"INSERT INTO {name} VALUES ({', '.join(casts)})"

    def ask(sql, parameters):
        if database.name == "sqlserver":
            sql = sql.replace("%s", "?").replace("%%", "%")
        return iter(connection.cursor().execute(sql, parameters).fetchall())

    def fill(rows):
        cursor.execute(f"DELETE FROM {name}")
        for row in rows:
            sent = [given_to(database.name, value) for value in row]
            cursor.execute(insert, sent)
        by_server = (lambda digest: int(digest.hex()[:15], 16)) if database.name == "sqlserver" else int
        return Database(lambda _: asked, ask, ask, by_server)

    yield fill
    cursor.execute(f"DROP TABLE {name}")


def given_to(server: str, value):
    """As the driver takes it without guessing a narrower type."""
    if server == "postgres":
        return value
    match value:
        case datetime():
            return value.replace(tzinfo=None).isoformat(timespec="microseconds")
        case date() | Decimal():
            return str(value) if isinstance(value, date) else f"{value:f}"
    return value


def test_every_database_hashes_a_row_as_python_does(filled):
    text, key = compared_text(TABLE.columns), key_of(TABLE)

    @settings(max_examples=40, derandomize=True)
    @given(ROWS)
    @example(
        [("a", *NULLS), ("a", "", *NULLS[1:]), ("b", "x\x1f=y", "z", *NULLS[2:]), ("b", "x", "y\x1f=z", *NULLS[2:])]
    )
    @example([("a", "😀é", "a ", Decimal("-0.5000"), *NULLS[3:])])
    @example([("a", *NULLS[:7], datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC), None, None)])
    def compared(drawn):
        rows = [(tenant, number, *rest) for number, (tenant, *rest) in enumerate(drawn)]
        side = filled(rows)
        expected = {key(row): text_hash(text(row)) for row in rows}
        assert side.hashes(TABLE, Scope()) == expected
        assert len(set(expected.values())) == len(rows)
        total = sum(side.sums(TABLE, Scope()).values(), Sum())
        assert total == Sum(len(rows), sum(expected.values()))

    compared()


def test_parts_and_bounds_are_those_of_the_key(filled):
    rows = [(tenant, number, *NULLS) for tenant in "ab" for number in range(5)]
    side = filled(rows)
    bounds = side.bounds(TABLE, Scope(), 3)
    assert bounds == [("a", 2), ("b", 0), ("b", 3)]
    parts = side.parts(TABLE, Scope(), bounds)
    assert [part.count for part in parts] == [3, 3, 3, 1]
    for part, scope in zip(parts, Scope().parts(bounds), strict=True):
        hashes = side.hashes(TABLE, scope)
        assert part == Sum(len(hashes), sum(hashes.values()))


def test_a_group_is_a_tenants_month_and_a_row_without_a_date_has_one_of_its_own(filled):
    days = [date(2026, 10, 31), date(2026, 11, 1), date(2026, 11, 30), None]
    side = filled([("a", number, *NULLS[:6], day, *NULLS[7:]) for number, day in enumerate(days)])
    groups = side.sums(TABLE, Scope())
    assert {group: each.count for group, each in groups.items()} == {
        ("a", date(2026, 10, 1)): 1,
        ("a", date(2026, 11, 1)): 2,
        ("a", None): 1,
    }
    for group, each in groups.items():
        assert side.sums(TABLE, Scope().of_group(TABLE, group)) == {group: each}
    assert len(side.hashes(TABLE, Scope(since=date(2026, 11, 1)))) == 2
    assert set(side.hashes(TABLE, Scope(keys=(("a", 1), ("b", 2))))) == {("a", 1)}
