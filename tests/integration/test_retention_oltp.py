"""What may leave Postgres: exactly what was proven, and never a row that came in between."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql

from operations import connections
from operations.migrate import make_partitions, migrate_oltp
from operations.months import month as month_of
from operations.retention.errors import Busy, Protected
from operations.retention.item import RetentionOutcome
from operations.retention.policy import Age, Policy
from operations.retention.proof import identified
from operations.retention.run import walk
from operations.retention.source import Leaf, OltpRetention
from operations.retention.stores import Stores
from operations.settings import Settings
from schemas.checksums import Sum, row_text, sum_of
from schemas.errors import HeadraceError, Unavailable, Unproven
from schemas.tables import EVENTS, ORDER_LINES, ORDERS, PAYMENTS, Column, Source, Table
from schemas.types import Boolean, Date, Integer, Json, Numeric, Text, Timestamp, Uuid
from tests.support.eventually import eventually

Connection = psycopg.Connection[Any]
TRADE = (PAYMENTS, ORDER_LINES, ORDERS)  # children first
NOW = datetime.now(UTC)
AT_ONCE = "SET lock_timeout = '100ms'"  # who waits longer was blocked


@pytest.fixture(scope="module")
def migrated(empty: Callable[[], Settings]) -> Settings:
    settings = empty()
    migrate_oltp(settings)
    return settings


@pytest.fixture
def connect(migrated: Settings) -> Iterator[Callable[[connections.OltpRole], Connection]]:
    opened: list[Connection] = []

    def make(role: connections.OltpRole) -> Connection:
        opened.append(connections.oltp(migrated, role))
        return opened[-1]

    yield make
    for connection in opened:
        connection.close()


@pytest.fixture
def owner(connect: Callable[[connections.OltpRole], Connection]) -> Connection:
    return connect("migrator")


@pytest.fixture
def shop(connect: Callable[[connections.OltpRole], Connection]) -> Connection:
    return connect("app_writer")


@pytest.fixture
def role(connect: Callable[[connections.OltpRole], Connection]) -> Connection:
    """Retention's connection, for a transaction that a test leaves open."""
    return connect("retention")


@pytest.fixture
def retention(role: Connection) -> OltpRetention:
    return OltpRetention(role)


@pytest.fixture(scope="module")
def unused_months() -> Iterator[date]:
    return (month_of(date(1990, 1, 1), offset) for offset in range(200))


@pytest.fixture
def month(migrated: Settings, unused_months: Iterator[date]) -> date:
    """A month of the test's own, in which nothing has happened."""
    first = next(unused_months)
    make_partitions(migrated, first, first)
    return first


@pytest.fixture
def day(migrated: Settings, owner: Connection, unused_months: Iterator[date]) -> datetime:
    """A day of the test's own, in a month that was split into days when it was young, and is old now; the month after
    it is the test's own, too."""
    first, _ = month_of(next(unused_months), 12 * 17), next(unused_months)
    with owner.transaction():
        for root, key in (("outbox_events", "occurred_at"), ("sessions", "started_at")):
            split(owner, root, key, first)
    make_partitions(migrated, first, first)
    return datetime(first.year, first.month, 5, 12, tzinfo=UTC)


def split(owner: Connection, root: str, key: str, first: date) -> None:
    """Makes a month's partition as sales.make_month does for a month that is young."""
    part, after = f"sales.{root}_{first:%Y_%m}", month_of(first, 1)
    owner.execute(f"CREATE TABLE {part} (LIKE sales.{root} INCLUDING ALL) PARTITION BY RANGE ({key})".encode())
    for number in range((after - first).days):
        begin = first + timedelta(days=number)
        bounds = f"FROM ('{begin} 00:00:00+00') TO ('{begin + timedelta(days=1)} 00:00:00+00')"
        owner.execute(f"CREATE TABLE {part}_{begin:%d} PARTITION OF {part} FOR VALUES {bounds}".encode())
    bounds = f"FROM ('{first} 00:00:00+00') TO ('{after} 00:00:00+00')"
    owner.execute(f"ALTER TABLE sales.{root} ATTACH PARTITION {part} FOR VALUES {bounds}".encode())


def insert(connection: Connection, table: str, row: dict[str, Any]) -> None:
    connection.execute(
        sql.SQL("INSERT INTO sales.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join([sql.Placeholder()] * len(row)),
        ),
        list(row.values()),
    )


def order(shop: Connection, month: date, order_id: str = "o", tenant: str = "t", **values: Any) -> None:
    row = {"tenant_id": tenant, "order_month": month, "order_id": order_id, "customer_id": "c", "status": "placed"}
    insert(shop, "orders", row | {"total": "12.34", "currency": "EUR", "placed_at": NOW} | values)


def line(shop: Connection, month: date, order_id: str = "o", tenant: str = "t", **values: Any) -> None:
    row = {"tenant_id": tenant, "order_month": month, "order_id": order_id, "line_no": 1, "sku": "s", "quantity": 1}
    insert(shop, "order_lines", row | {"unit_price": 1, "freight": 0, "currency": "EUR", "priced_at": NOW} | values)


def payment(shop: Connection, month: date, order_id: str = "o", tenant: str = "t", **values: Any) -> None:
    row = {"tenant_id": tenant, "payment_id": f"{month}-{order_id}", "order_month": month, "order_id": order_id}
    method = {"provider": "p", "provider_status": "paid", "method": "card", "installments": 1}
    insert(shop, "payments", row | method | {"amount": 1, "currency": "EUR", "paid_at": NOW} | values)


def trade(shop: Connection, month: date, order_id: str = "o", tenant: str = "t") -> None:
    """An order with a line and a payment."""
    order(shop, month, order_id, tenant)
    line(shop, month, order_id, tenant)
    payment(shop, month, order_id, tenant)


def late_order(shop: Connection, month: date) -> None:
    order(shop, month, "late")


def late_line(shop: Connection, month: date) -> None:
    line(shop, month, line_no=2)


def late_payment(shop: Connection, month: date) -> None:
    payment(shop, month, payment_id=f"{month}-late")


def event(shop: Connection, at: datetime, tenant: str = "t", event_id: UUID | None = None, **values: Any) -> str:
    event_id = event_id or uuid4()
    row = {"event_id": event_id, "tenant_id": tenant, "aggregate_type": "order", "aggregate_id": "o"}
    insert(shop, "outbox_events", row | {"event_type": "e", "payload": "{}", "occurred_at": at} | values)
    return str(event_id)


def proof(retention: OltpRetention, month: date, held: tuple[str, ...] = ()) -> dict[str, Sum]:
    """What an archive of the rows, as they can be read, would prove."""
    return {table.name: sum_of(map(row_text(table.columns), retention.rows(table, month, held))) for table in TRADE}


def event_proof(retention: OltpRetention, leaf: Leaf, *tenants: str) -> dict[str, Sum]:
    text = row_text(EVENTS.columns)
    return {tenant: sum_of(map(text, retention.events(EVENTS, leaf, tenant))) for tenant in tenants}


def event_ids(retention: OltpRetention, leaf: Leaf, tenant: str) -> list[str]:
    return [identified(EVENTS)(row).id for row in retention.events(EVENTS, leaf, tenant)]


def leaf_of(retention: OltpRetention, at: datetime) -> Leaf:
    (found,) = (leaf for leaf in retention.leaves(EVENTS) if leaf.start <= at < leaf.end)
    return found


def rows(connection: Connection, table: str, month: date) -> list[tuple[str, str]]:
    """(tenant, order) of what is there."""
    return connection.execute(
        f"SELECT tenant_id, order_id FROM sales.{table} WHERE order_month = %s ORDER BY 1, 2".encode(), [month]
    ).fetchall()


def counts(connection: Connection, month: date) -> list[int]:
    return [len(rows(connection, table.relation, month)) for table in TRADE]


def partitions(connection: Connection, month: date) -> list[str]:
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relname ~ %s ORDER BY 1", [f"_{month:%Y_%m}$"]
    )
    return [name for (name,) in found]


def blocked_by(watch: Connection, holder: Connection) -> bool:
    """Whether anybody waits for what `holder` has locked."""
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
    return watch.execute(blocked, [holder.info.backend_pid]).fetchone() != (0,)


# Sums

ODD = datetime(1969, 12, 31, 23, 59, 59, 999999, UTC)
ODD_ORDERS: list[dict[str, Any]] = [
    {"customer_id": "zoë \U0001f600 'quoted' \"twice\" \\ % {}", "total": "-0.0001"},
    {"status": "U+001F\x1f=~", "customer_id": "~", "total": "-999999999999999.9999"},
    {"total": "999999999999999.9999", "placed_at": ODD, "approved_at": ODD, "status": ""},
    {"total": "0", "placed_at": datetime(1, 1, 1, tzinfo=UTC), "deleted_at": NOW, "deleted_by": " x "},
    {"total": "1.5", "placed_at": datetime(9999, 12, 31, 23, 59, 59, 999999, UTC), "cancelled_at": NOW},
]


def test_postgres_sums_rows_as_everybody_does(retention: OltpRetention, shop: Connection, month: date) -> None:
    for number, odd in enumerate(ODD_ORDERS):
        order(shop, month, f"o{number}", **odd)
        line(shop, month, f"o{number}", unit_price=odd["total"])
        payment(shop, month, f"o{number}", method_token=None if number else "é")
    for table in TRADE:
        seen = list(retention.rows(table, month, []))
        assert len(seen) == len(ODD_ORDERS)
        assert retention.row_sums(table, month, []) == sum_of(map(row_text(table.columns), seen))


def test_rows_are_read_with_their_types_in_the_order_of_the_declaration(
    retention: OltpRetention, shop: Connection, month: date
) -> None:
    order(shop, month, total="12.3", placed_at=ODD)
    (row,) = retention.rows(ORDERS, month, [])
    found = dict(zip([column.name for column in ORDERS.columns], row, strict=True))
    assert (found["order_month"], found["total"], found["placed_at"]) == (month, Decimal("12.3000"), ODD)
    assert found["placed_at"].tzinfo is UTC
    assert found["shipped_at"] is None


NOTES = Table(
    name="notes",
    source=Source.POSTGRES,
    schema="sales",
    key=("note_id",),
    columns=(
        Column(name="note_id", type=Uuid()),
        Column(name="tenant_id", type=Text(64)),
        Column(name="on_day", type=Date()),
        Column(name="document", type=Json(), nullable=True),
        Column(name="done", type=Boolean(), nullable=True),
        Column(name="size", type=Integer(big=True)),
        Column(name="rate", type=Numeric(38, 10)),
        Column(name="Said", type=Text(), nullable=True),
        Column(name="at", type=Timestamp(), nullable=True),
    ),
    ages_by="on_day",
    retention="notes",
)


@pytest.fixture
def notes(owner: Connection) -> Iterator[None]:
    """A table of one's own, with every type, that is not partitioned and ages by any day of a month."""
    owner.execute(
        "CREATE TABLE sales.notes (note_id uuid PRIMARY KEY, tenant_id varchar(64) NOT NULL, on_day date NOT NULL, "
        'document jsonb, done boolean, size bigint NOT NULL, rate numeric(38, 10) NOT NULL, "Said" text, '
        "at timestamptz); GRANT SELECT ON sales.notes TO retention; "
        "INSERT INTO sales.minimum_age VALUES ('notes', 'on_day', '20 years')"
    )
    yield
    owner.execute("DROP TABLE sales.notes; DELETE FROM sales.minimum_age WHERE relation = 'notes'")


def note(owner: Connection, on_day: date, tenant: str = "t", **values: Any) -> None:
    row = {"note_id": uuid4(), "tenant_id": tenant, "on_day": on_day, "size": -1, "rate": "-0.0000000001"}
    insert(owner, "notes", row | values)


@pytest.mark.usefixtures("notes")
def test_a_table_of_ones_own_ages_by_any_day_of_the_month(retention: OltpRetention, owner: Connection) -> None:
    note(owner, date(2000, 1, 31), document='{"b": 1.50, "a": ["\\u0001", null, "é"]}', done=True, Said="~", at=ODD)
    note(owner, date(2000, 2, 1), document="null", done=False, Said="", rate="9999999999999999999999999999.5")
    note(owner, date(2000, 2, 29))
    note(owner, date(2000, 3, 1))
    assert retention.months([NOTES], date(2000, 3, 17), []) == [date(2000, 1, 1), date(2000, 2, 1)]
    for first, count in ((date(2000, 1, 1), 1), (date(2000, 2, 1), 2)):
        proven = sum_of(map(row_text(NOTES.columns), retention.rows(NOTES, first, [])))
        assert retention.row_sums(NOTES, first, []) == proven
        assert retention.retire_rows(first, [NOTES], [], {"notes": proven}) == {"notes": count}
    assert owner.execute("SELECT on_day FROM sales.notes").fetchall() == [(date(2000, 3, 1),)]


TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ODD_EVENTS: list[dict[str, Any]] = [
    {},
    {"payload": '{"b": 1.50, "a": ["\\u0001", null, "zoë \U0001f600"], "a2": 12345678901234567890.000}'},
    {"traceparent": TRACE, "schema_version": 7, "aggregate_type": "payment", "aggregate_id": "U+001F\x1f=~"},
    {"payload": "null", "event_type": "~"},
]


def test_postgres_sums_events_as_everybody_does(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    for odd in ODD_EVENTS:
        event(shop, day + timedelta(microseconds=1), **odd)
    event(shop, day, "another")
    leaf = leaf_of(retention, day)
    proofs = event_proof(retention, leaf, "t", "another")
    assert proofs["t"].count == len(ODD_EVENTS)
    assert retention.event_sums(EVENTS, leaf, []) == proofs
    assert retention.event_sums(EVENTS, leaf, ["t"]) == {"another": proofs["another"]}


# What an event is: its tenant, its day and its id


@pytest.fixture(params=["day", "month"])
def instant(request: pytest.FixtureRequest, owner: Connection, retention: OltpRetention) -> datetime:
    """Noon of a day that is a leaf of its own, and of one that shares a leaf with its month."""
    month = request.getfixturevalue("month")
    at = datetime(month.year, month.month, 5, 12, tzinfo=UTC)
    if request.param == "day":
        at = request.getfixturevalue("day")
    owner.execute("SELECT sales.identify_events(%s)", [leaf_of(retention, at).name])  # where a test has made the leaf
    return at


def test_an_event_is_entered_once_a_day(shop: Connection, retention: OltpRetention, instant: datetime) -> None:
    id_ = UUID(event(shop, instant))
    for again in (instant.replace(hour=0), instant.replace(hour=23)):
        with pytest.raises(errors.UniqueViolation, match="_identity"):
            event(shop, again, event_id=id_, payload='{"another": true}')
    event(shop, instant + timedelta(microseconds=1), "another", event_id=id_)
    event(shop, instant + timedelta(days=1), event_id=id_)
    assert retention.event_sums(EVENTS, leaf_of(retention, instant), ["t"])["another"].count == 1


def unidentified(owner: Connection, retention: OltpRetention, at: datetime) -> Leaf:
    """A leaf without its unique index, as all were before there was one."""
    leaf = leaf_of(retention, at)
    owner.execute(f"DROP INDEX IF EXISTS sales.{leaf.name}_identity".encode())
    return leaf


def test_events_that_share_their_identity_are_named_when_it_is_introduced(
    owner: Connection, shop: Connection, retention: OltpRetention, instant: datetime
) -> None:
    leaf = unidentified(owner, retention, instant)
    id_ = event(shop, instant)
    event(shop, instant.replace(hour=13), event_id=UUID(id_))
    event(shop, instant)
    with pytest.raises(errors.UniqueViolation) as refused:
        owner.execute("SELECT sales.identify_events(%s)", [leaf.name])
    named = f"2 rows of {id_} of tenant t on {instant:%Y-%m-%d}"
    said = f"sales.{leaf.name}: events with the same tenant, day and id: {named}; see docs/runbook.md#event-twice"
    assert str(refused.value).startswith(said)


def test_a_second_payload_under_an_id_is_no_repeat_of_the_first(
    owner: Connection, shop: Connection, retention: OltpRetention, instant: datetime
) -> None:
    leaf = unidentified(owner, retention, instant)
    id_ = UUID(event(shop, instant))
    archived = event_proof(retention, leaf, "t")
    event(shop, instant.replace(hour=13), event_id=id_, payload='{"second": true}')
    assert retention.event_sums(EVENTS, leaf, [])["t"].count == 2
    with pytest.raises(Unproven):
        retention.retire_events(leaf, [], archived)
    assert len({identified(EVENTS)(row) for row in retention.events(EVENTS, leaf, "t")}) == 2


# Proof: nothing leaves without it


def test_a_month_of_trade_leaves_together(retention: OltpRetention, shop: Connection, month: date) -> None:
    trade(shop, month, "o1")
    trade(shop, month, "o2", "another")
    other = month_of(month, -1)
    before = partitions(shop, month)
    assert month in retention.months(TRADE, month_of(month, 1), [])
    gone = retention.retire_rows(month, TRADE, [], proof(retention, month))
    assert gone == {"payments": 2, "order_lines": 2, "orders": 2}
    assert counts(shop, month) == [0, 0, 0]
    assert set(before) - set(partitions(shop, month)) == {f"{name}_{month:%Y_%m}" for name in ("orders", "order_lines")}
    assert month not in retention.months(TRADE, month_of(month, 1), [])
    assert other not in retention.months(TRADE, other, [])


def wrong_counts(right: dict[str, Sum]) -> dict[str, Sum]:
    return right | {"orders": Sum(right["orders"].count + 1, right["orders"].total)}


def wrong_sums(right: dict[str, Sum]) -> dict[str, Sum]:
    return right | {"payments": Sum(right["payments"].count, right["payments"].total + 1)}


def lines_missing(right: dict[str, Sum]) -> dict[str, Sum]:
    return {name: claim for name, claim in right.items() if name != "order_lines"}


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize(
    ("wrong", "named"), [(wrong_counts, "orders"), (wrong_sums, "payments"), (lines_missing, "order_lines")]
)
def test_a_wrong_proof_leaves_all_three_tables_as_they_are(  # noqa: PLR0917
    retention: OltpRetention, shop: Connection, month: date, held: tuple[str, ...], wrong: Any, named: str
) -> None:
    trade(shop, month)
    trade(shop, month, "o2", "another")
    claims = wrong(proof(retention, month, held))
    with pytest.raises(Unproven, match=f"^{month:%Y-%m}: count and sum of {named} are .* proven"):
        retention.retire_rows(month, TRADE, held, claims)
    assert counts(shop, month) == [2, 2, 2]


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize(
    "change",
    [
        late_order,
        late_line,
        late_payment,
        lambda shop, month: shop.execute("UPDATE sales.payments SET amount = 2 WHERE order_month = %s", [month]),
        lambda shop, month: shop.execute("UPDATE sales.orders SET status = 'x' WHERE order_month = %s", [month]),
    ],
    ids=["order", "line", "payment", "payment changed", "order changed"],
)
def test_what_came_after_the_proof_is_noticed(
    retention: OltpRetention, shop: Connection, month: date, held: tuple[str, ...], change: Any
) -> None:
    trade(shop, month)
    trade(shop, month, "o2", "another")
    claims = proof(retention, month, held)
    change(shop, month)
    there = counts(shop, month)
    with pytest.raises(Unproven):
        retention.retire_rows(month, TRADE, held, claims)
    assert counts(shop, month) == there


def test_a_column_that_nobody_declared_keeps_its_rows_here(
    retention: OltpRetention, shop: Connection, owner: Connection, month: date
) -> None:
    trade(shop, month)
    claims = proof(retention, month)
    owner.execute("ALTER TABLE sales.order_lines ADD COLUMN gift_note text")
    try:
        with pytest.raises(Unproven, match="order_lines"):
            retention.retire_rows(month, TRADE, [], claims)
        assert counts(shop, month) == [1, 1, 1]
    finally:
        owner.execute("ALTER TABLE sales.order_lines DROP COLUMN gift_note")
    assert retention.retire_rows(month, TRADE, [], claims)["order_lines"] == 1


def test_rows_that_an_unnamed_table_refers_to_stay(retention: OltpRetention, shop: Connection, month: date) -> None:
    trade(shop, month)
    with pytest.raises(Unproven, match="payments"):
        retention.retire_rows(month, TRADE[1:], [], {t.name: proof(retention, month)[t.name] for t in TRADE[1:]})
    assert counts(shop, month) == [1, 1, 1]


def test_a_held_tenants_rows_stay(retention: OltpRetention, shop: Connection, month: date) -> None:
    trade(shop, month, "o1")
    trade(shop, month, "o2", "held")
    assert month in retention.months(TRADE, month_of(month, 1), ["t"])
    gone = retention.retire_rows(month, TRADE, ["held"], proof(retention, month, ("held",)))
    assert gone == {"payments": 1, "order_lines": 1, "orders": 1}
    for table in TRADE:
        assert rows(shop, table.relation, month) == [("held", "o2")]
    assert month not in retention.months(TRADE, month_of(month, 1), ["held"])
    assert retention.retire_rows(month, TRADE, [], proof(retention, month))["orders"] == 1
    assert f"orders_{month:%Y_%m}" not in partitions(shop, month)


def test_a_leaf_of_events_goes_and_its_month_with_the_last_one(
    retention: OltpRetention, shop: Connection, day: datetime
) -> None:
    event(shop, day)
    leaf = leaf_of(retention, day)
    assert retention.retire_events(leaf, [], event_proof(retention, leaf, "t")) == 1
    rest = [leaf for leaf in retention.leaves(EVENTS) if month_of(leaf.start.date()) == day.date().replace(day=1)]
    assert leaf.name not in [leaf.name for leaf in rest]
    assert f"outbox_events_{day:%Y_%m}" in partitions(shop, day.date())
    assert [retention.retire_events(leaf, [], {}) for leaf in rest] == [0] * len(rest)
    assert f"outbox_events_{day:%Y_%m}" not in partitions(shop, day.date())


def test_a_month_of_old_events_is_one_leaf_and_goes(retention: OltpRetention, shop: Connection, month: date) -> None:
    at = datetime(month.year, month.month, 3, tzinfo=UTC)
    event(shop, at)
    leaf = leaf_of(retention, at)
    assert (leaf.start.date(), leaf.end.date()) == (month, month_of(month, 1))
    assert leaf.bytes > 0
    assert retention.retire_events(leaf, [], event_proof(retention, leaf, "t")) == 1
    assert leaf.name not in [leaf.name for leaf in retention.leaves(EVENTS)]


def test_leaves_are_named_oldest_first(retention: OltpRetention, day: datetime) -> None:
    leaves = retention.leaves(EVENTS)
    assert leaves == sorted(leaves, key=lambda leaf: leaf.start)
    assert leaf_of(retention, day).end - leaf_of(retention, day).start == timedelta(days=1)


@pytest.mark.parametrize("held", [(), ("held",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (lambda right: right | {"b": Sum(2, right["b"].total)}, "b"),
        (lambda right: right | {"b": Sum(1, right["b"].total + 1)}, "b"),
        (lambda right: {"b": right["b"]}, "a"),
        (lambda right: right | {"c": Sum(1, 1)}, "c"),
    ],
    ids=["count", "sum", "a tenant missing", "a tenant too many"],
)
def test_events_that_are_not_proven_stay(  # noqa: PLR0917
    retention: OltpRetention, shop: Connection, day: datetime, held: tuple[str, ...], wrong: Any, named: str
) -> None:
    for tenant in ("a", "b", "held"):
        event(shop, day, tenant)
    leaf = leaf_of(retention, day)
    right = event_proof(retention, leaf, *({"a", "b", "held"} - set(held)))
    with pytest.raises(Unproven, match=f"{leaf.name}: count and sum of {named} are"):
        retention.retire_events(leaf, held, wrong(right))
    assert set(retention.event_sums(EVENTS, leaf, [])) == {"a", "b", "held"}


def test_an_event_after_the_proof_is_noticed(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    event(shop, day)
    leaf = leaf_of(retention, day)
    claims = event_proof(retention, leaf, "t")
    event(shop, day)
    with pytest.raises(Unproven, match="count and sum of t are"):
        retention.retire_events(leaf, [], claims)
    assert retention.event_sums(EVENTS, leaf, [])["t"].count == 2


def test_a_held_tenants_events_stay(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    event(shop, day)
    kept = event(shop, day, "held")
    leaf = leaf_of(retention, day)
    assert retention.retire_events(leaf, ["held"], event_proof(retention, leaf, "t")) == 1
    assert event_ids(retention, leaf, "held") == [kept]
    assert retention.event_sums(EVENTS, leaf, []) == event_proof(retention, leaf, "held")


def test_a_null_among_the_held_hides_nothing_from_the_proof(
    role: Connection, shop: Connection, day: datetime, month: date
) -> None:
    event(shop, day)
    order(shop, month)
    for held in ("NULL", "'{NULL}'"):
        with pytest.raises(psycopg.DatabaseError) as refused:
            role.execute(f"SELECT sales.retire_events('outbox_events_{day:%Y_%m_%d}', {held}, '{{}}')".encode())
        assert refused.value.sqlstate == "HR001"
        with pytest.raises(psycopg.DatabaseError) as refused:
            nothing = '{"orders": [0, 0]}'
            role.execute(
                f"SELECT sales.retire_rows('{month}', '{{orders}}', '{{order_month}}', {held}, '{nothing}')".encode()
            )
        assert refused.value.sqlstate == "HR001"


@pytest.mark.parametrize("claim", ["NULL", "'{}'", "'[]'", "'{\"t\": null}'", "'{\"t\": {}}'", '\'{"t": ["x", 1]}\''])
def test_a_malformed_proof_proves_nothing(role: Connection, shop: Connection, day: datetime, claim: str) -> None:
    event(shop, day)
    with pytest.raises(psycopg.DatabaseError):
        role.execute(f"SELECT sales.retire_events('outbox_events_{day:%Y_%m_%d}', '{{}}', {claim})".encode())
    assert shop.execute("SELECT count(*) FROM sales.outbox_events WHERE occurred_at = %s", [day]).fetchone() == (1,)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("sales.retire_events('outbox_events', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_events('orders_1990_01_0', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_events('x; DROP TABLE sales.orders', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_events('heartbeat', '{}', '{}')", errors.UndefinedTable),
        ("sales.retire_sessions('outbox_events_1990_01', now(), '{}')", errors.UndefinedTable),
        ("sales.row_sums('pg_class', 'relname', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders_1990_01', 'order_month', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders', 'placed_at', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders', 'order_month) --', '2000-01-01', '{}')", errors.UndefinedColumn),
        ("sales.row_sums('orders', 'order_month', '2000-01-02', '{}')", errors.RaiseException),
        ("sales.retire_rows('2000-01-01', '{orders}', '{}', '{}', '{}')", errors.UndefinedColumn),
    ],
)
def test_nothing_but_a_leaf_or_a_table_that_ages_is_touched(role: Connection, call: str, error: Any) -> None:
    with pytest.raises(error):
        role.execute(f"SELECT {call}".encode())


# Bounds: whatever is proven, nothing young leaves, and nobody's who is under a legal hold

YOUNG = month_of(NOW.date(), -6 * 12 - 11)  # its last day is less than seven years ago


def own_proof(role: Connection, month: date) -> str:
    """What role retention can compute by itself, without an archive."""
    found = {
        table.relation: role.execute(
            "SELECT rows, total::text FROM sales.row_sums(%s, 'order_month', %s, '{}')", [table.relation, month]
        ).fetchone()
        for table in TRADE
    }
    return json.dumps(found)


def retire(role: Connection, month: date) -> None:
    relations, ages = [table.relation for table in TRADE], ["order_month"] * len(TRADE)
    role.execute("SELECT sales.retire_rows(%s, %s, %s, '{}', %s)", [month, relations, ages, own_proof(role, month)])


def test_a_proof_that_the_role_computed_itself_lets_an_old_month_go_and_no_young_one(
    migrated: Settings, role: Connection, shop: Connection, month: date
) -> None:
    """The proof guards against mistakes; against whoever has the password, the minimum age does."""
    make_partitions(migrated, YOUNG, YOUNG)
    for first in (month, YOUNG):
        trade(shop, first)
    retire(role, month)
    assert counts(shop, month) == [0, 0, 0]
    with pytest.raises(psycopg.DatabaseError, match="not older than 7 years, the minimum") as no:
        retire(role, YOUNG)
    assert no.value.sqlstate == "HR002"
    assert counts(shop, YOUNG) == [1, 1, 1]


def test_a_young_leaf_of_events_stays_however_well_it_is_proven(
    migrated: Settings, retention: OltpRetention, shop: Connection
) -> None:
    make_partitions(migrated, NOW.date(), NOW.date())
    event(shop, NOW)
    leaf = leaf_of(retention, NOW)
    with pytest.raises(Protected, match=r"outbox_events before .* minimum.*docs/runbook.md#protected"):
        retention.retire_events(leaf, [], event_proof(retention, leaf, "t"))
    assert retention.event_sums(EVENTS, leaf, []).keys() == {"t"}


def test_young_sessions_stay(retention: OltpRetention) -> None:
    with pytest.raises(Protected, match="sessions before"):
        retention.retire_sessions(NOW - timedelta(days=29), [])


@pytest.mark.usefixtures("notes")
def test_young_rows_do_not_leave_by_another_date_of_theirs(
    retention: OltpRetention, owner: Connection, role: Connection
) -> None:
    owner.execute("ALTER TABLE sales.notes ADD COLUMN born date NOT NULL DEFAULT '1980-01-01'")
    note(owner, NOW.date())
    with pytest.raises(psycopg.DatabaseError, match="no age of notes by born"):
        role.execute("SELECT sales.retire_rows('1980-01-01', '{notes}', '{born}', '{}', '{}')")
    with pytest.raises(Protected, match="not older than 20 years"):
        retention.require_old(NOTES, NOW)
    retention.require_old(NOTES, datetime(2000, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize("held", [[], ["other"], [None]])
def test_a_tenant_under_a_legal_hold_must_be_held(  # noqa: PLR0917
    retention: OltpRetention,
    role: Connection,
    owner: Connection,
    shop: Connection,
    month: date,
    day: datetime,
    held: Any,
) -> None:
    trade(shop, month)
    sold = event(shop, day)
    leaf, claims = leaf_of(retention, day), proof(retention, month)
    owner.execute("INSERT INTO sales.legal_hold (tenant_id, reason) VALUES ('t', 'a court order')")
    try:
        assert retention.legal_holds() == {"t"}
        for attempt in (
            lambda: retention.retire_rows(month, TRADE, held, claims),
            lambda: retention.retire_events(leaf, held, event_proof(retention, leaf, "t")),
            lambda: retention.retire_sessions(day, held),
            lambda: retention.erase_events(EVENTS, "t", [sold]),
        ):
            with pytest.raises(Protected, match="tenant t is under a legal hold"):
                attempt()
        assert retention.retire_rows(month, TRADE, ["t"], proof(retention, month, ("t",)))["orders"] == 0
    finally:
        owner.execute("DELETE FROM sales.legal_hold")
    assert counts(shop, month) == [1, 1, 1]
    assert retention.event_sums(EVENTS, leaf, []).keys() == {"t"}


# Others at work


def test_an_older_snapshot_is_refused_because_it_would_not_see_the_latest_rows(
    role: Connection, retention: OltpRetention, shop: Connection, day: datetime, month: date
) -> None:
    event(shop, day)
    trade(shop, month)
    leaf, claims = leaf_of(retention, day), proof(retention, month)
    events = event_proof(retention, leaf, "t")
    role.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
    for retire in (
        lambda: retention.retire_events(leaf, [], events),
        lambda: retention.retire_rows(month, TRADE, [], claims),
    ):
        with pytest.raises(errors.InvalidTransactionState, match="READ COMMITTED"), role.transaction():
            role.execute("SELECT 1")
            event(shop, day)
            order(shop, month, str(uuid4()))
            retire()
    assert retention.event_sums(EVENTS, leaf, [])["t"].count == 3


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize("late", [late_order, late_line, late_payment])
def test_a_row_that_is_being_written_is_waited_for_and_never_lost(
    retention: OltpRetention, shop: Connection, month: date, held: tuple[str, ...], late: Any
) -> None:
    trade(shop, month)
    trade(shop, month, "o2", "another")
    claims = proof(retention, month, held)
    with shop.transaction():
        late(shop, month)
        with pytest.raises(Busy):
            retention.retire_rows(month, TRADE, held, claims)
    there = counts(shop, month)
    with pytest.raises(Unproven):
        retention.retire_rows(month, TRADE, held, claims)
    assert counts(shop, month) == there
    assert sum(there) == 7


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize("late", [late_order, late_line, late_payment])
def test_a_row_that_is_committed_while_retention_waits_for_it_is_noticed(  # noqa: PLR0917
    retention: OltpRetention, shop: Connection, owner: Connection, month: date, held: tuple[str, ...], late: Any
) -> None:
    trade(shop, month)
    trade(shop, month, "o2", "another")
    claims = proof(retention, month, held)
    with ThreadPoolExecutor(1) as pool:
        with shop.transaction():
            late(shop, month)
            run = pool.submit(retention.retire_rows, month, TRADE, held, claims)
            eventually(lambda: run.done() or blocked_by(owner, shop))
        assert isinstance(run.exception(), Unproven | Busy)
    assert sum(counts(shop, month)) == 7


@pytest.mark.parametrize("held", [(), ("another",)], ids=["a drop", "a delete"])
@pytest.mark.parametrize("late", [late_order, late_line, late_payment])
@pytest.mark.parametrize("given_up", [False, True])
def test_who_writes_into_a_month_that_is_leaving_waits_and_is_told(  # noqa: PLR0917
    role: Connection, shop: Connection, owner: Connection, month: date, held: tuple[str, ...], late: Any, given_up: bool
) -> None:
    retention = OltpRetention(role)
    trade(shop, month)
    trade(shop, month, "o2", "another")
    claims = proof(retention, month, held)
    with ThreadPoolExecutor(1) as pool:
        with role.transaction(force_rollback=given_up):
            retention.retire_rows(month, TRADE, held, claims)
            run = pool.submit(late, shop, month)
            eventually(lambda: run.done() or blocked_by(owner, role))
            assert not run.done()
        refused = run.exception()
    assert isinstance(refused, psycopg.Error | None)
    assert (refused is None) == (given_up or (held != () and late is late_order))
    assert sum(counts(owner, month)) == (6 if given_up else 3 * len(held)) + (refused is None)


def test_an_event_waits_for_its_leaf_and_is_told(
    role: Connection, retention: OltpRetention, shop: Connection, owner: Connection, day: datetime
) -> None:
    event(shop, day)
    leaf = leaf_of(retention, day)
    claims = event_proof(retention, leaf, "t")
    with ThreadPoolExecutor(1) as pool:
        with role.transaction():
            assert retention.retire_events(leaf, [], claims) == 1
            run = pool.submit(event, shop, day)
            eventually(lambda: run.done() or blocked_by(owner, role))
            assert not run.done()
        with pytest.raises(errors.CheckViolation, match="no partition"):
            run.result()


def test_a_leaf_that_is_being_written_is_given_up(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    leaf = leaf_of(retention, day)
    with shop.transaction():
        event(shop, day)
        with pytest.raises(Busy, match="lock timeout"):
            retention.retire_events(leaf, [], {})
    with pytest.raises(Unproven):
        retention.retire_events(leaf, [], {})


def test_an_event_that_is_committed_while_retention_waits_for_it_is_noticed(
    retention: OltpRetention, shop: Connection, owner: Connection, day: datetime
) -> None:
    leaf = leaf_of(retention, day)
    with ThreadPoolExecutor(1) as pool:
        with shop.transaction():
            event(shop, day)
            run = pool.submit(retention.retire_events, leaf, [], {})
            eventually(lambda: run.done() or blocked_by(owner, shop))
        assert isinstance(run.exception(), Unproven | Busy)
    assert retention.event_sums(EVENTS, leaf, [])["t"].count == 1


def test_other_days_go_on_while_a_leaf_leaves(
    role: Connection, retention: OltpRetention, shop: Connection, day: datetime
) -> None:
    event(shop, day)
    leaf = leaf_of(retention, day)
    claims = event_proof(retention, leaf, "t")
    shop.execute(AT_ONCE)
    with role.transaction():
        assert retention.retire_events(leaf, [], claims) == 1
        for _ in range(10):
            event(shop, NOW)


def test_other_months_go_on_while_one_is_deleted_from(
    role: Connection, retention: OltpRetention, shop: Connection, month: date
) -> None:
    trade(shop, month, "o1")
    trade(shop, month, "o2", "held")
    claims = proof(retention, month, ("held",))
    shop.execute(AT_ONCE)
    with role.transaction():
        retention.retire_rows(month, TRADE, ["held"], claims)
        for number in range(10):  # long enough for Postgres to settle on a generic plan
            trade(shop, NOW.date().replace(day=1), f"{month}-{number}")


def test_other_months_go_on_while_one_is_being_proven(
    retention: OltpRetention, shop: Connection, owner: Connection, month: date
) -> None:
    trade(shop, month)
    claims = proof(retention, month)
    shop.execute(AT_ONCE)
    with ThreadPoolExecutor(1) as pool, owner.transaction():
        owner.execute("SELECT FROM sales.payments WHERE order_month = %s FOR UPDATE", [month])
        run = pool.submit(retention.retire_rows, month, TRADE, [], claims)
        eventually(lambda: run.done() or blocked_by(shop, owner))
        for number in range(10):
            trade(shop, NOW.date().replace(day=1), f"{month}-{number}")
        with pytest.raises(Busy):
            run.result()
    assert retention.retire_rows(month, TRADE, [], claims)["orders"] == 1


def test_a_long_reader_makes_retention_give_up_and_nobody_else_wait(
    connect: Callable[[connections.OltpRole], Connection], retention: OltpRetention, shop: Connection, month: date
) -> None:
    trade(shop, month)
    claims, reader = proof(retention, month), connect("reporter_reader")
    with reader.transaction():
        reader.execute("SELECT count(*) FROM sales.orders")
        with pytest.raises(Busy):
            retention.retire_rows(month, TRADE, [], claims)
        trade(shop, month, "meanwhile")
    assert counts(shop, month) == [2, 2, 2]


def test_one_run_at_a_time(connect: Callable[[connections.OltpRole], Connection], retention: OltpRetention) -> None:
    another = OltpRetention(connect("retention"))
    with retention.lock(), pytest.raises(Unavailable, match="another retention run is at work"), another.lock():
        pass
    with another.lock():
        pass


def test_a_server_that_went_away_is_worth_another_try(
    retention: OltpRetention, role: Connection, superuser: Connection
) -> None:
    superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [role.info.backend_pid])
    with pytest.raises(Unavailable):
        retention.leaves(EVENTS)


# Sessions, erasure, partitions ahead


def session(shop: Connection, session_id: str, started: datetime, seen: datetime, tenant: str = "t") -> None:
    row = {"tenant_id": tenant, "session_id": session_id, "started_at": started, "last_seen_at": seen}
    insert(shop, "sessions", row)


def sessions(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT session_id FROM sales.sessions ORDER BY 1")]


def session_days(connection: Connection, at: datetime) -> list[str]:
    """The days of a month that have a partition."""
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ %s ORDER BY 1", [f"^sessions_{at:%Y_%m}_"]
    )
    return [name[-2:] for (name,) in found]


@pytest.fixture
def no_sessions(owner: Connection) -> Iterator[None]:
    yield
    owner.execute("DELETE FROM sales.sessions")


@pytest.mark.usefixtures("no_sessions")
def test_sessions_go_when_they_have_not_been_seen(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    before = day + timedelta(days=10)
    session(shop, "all old", day, day)
    session(shop, "old beside a long one", day + timedelta(days=1), day + timedelta(days=1))
    session(shop, "long", day + timedelta(days=1), before)
    session(shop, "held", day + timedelta(days=2), day + timedelta(days=2), "held")
    session(shop, "old of the day itself", before, before - timedelta(microseconds=1))
    session(shop, "new of the day itself", before, before)
    assert retention.aged_sessions(before, ["held"]) == 3
    assert retention.retire_sessions(before, ["held"]) == 3
    assert sessions(shop) == ["held", "long", "new of the day itself"]
    assert session_days(shop, day)[:3] == ["06", "07", "15"]


@pytest.mark.usefixtures("no_sessions")
def test_the_month_goes_with_its_last_session(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    session(shop, "a", day, day)
    after = datetime.combine(month_of(day.date(), 1), datetime.min.time(), UTC)
    assert f"sessions_{day:%Y_%m}" in partitions(shop, day.date())
    assert retention.retire_sessions(after, []) == 1
    assert f"sessions_{day:%Y_%m}" not in partitions(shop, day.date())


@pytest.mark.usefixtures("no_sessions")
def test_sessions_of_a_leaf_in_use_are_left_to_the_next_run(
    migrated: Settings, retention: OltpRetention, shop: Connection, day: datetime
) -> None:
    later = day.replace(day=2) + timedelta(days=31)
    make_partitions(migrated, later.date(), later.date())
    retention.retire_sessions(day, [])
    session(shop, "free", day, day)
    session(shop, "in use", later, day)
    with shop.transaction():
        shop.execute("UPDATE sales.sessions SET updated_by = 'me' WHERE started_at = %s", [later])
        assert retention.retire_sessions(later + timedelta(days=1), []) == 1
    assert sessions(shop) == ["in use"]
    assert retention.retire_sessions(later + timedelta(days=1), []) == 1


@pytest.mark.usefixtures("no_sessions")
def test_a_part_that_the_source_protects_is_kept_and_others_go_on(
    retention: OltpRetention, owner: Connection, shop: Connection, day: datetime, tmp_path: Path
) -> None:
    session(shop, "old", day, day)
    unused: Any = None
    stores = Stores(
        oltp=retention, reporting=[], generations=[], log=unused, bootstrap="", decoding=unused, barrier=unused,
        landed=unused, spool=tmp_path, codec="zstandard", policy=Policy(events=Age(days=30)), held=frozenset(),
        now=NOW, dry=True,
    )  # fmt: skip
    bound = owner.execute("DELETE FROM sales.minimum_age WHERE relation = 'payments' RETURNING *").fetchone()
    assert bound is not None
    try:
        events, orders, sessions = islice(walk(stores), 3)
    finally:
        owner.execute("INSERT INTO sales.minimum_age VALUES (%s, %s, %s)", bound)
    assert (events.store, events.outcome) == ("events", RetentionOutcome.KEPT)
    assert events.detail.startswith("outbox_events before")
    assert (orders.store, orders.outcome) == ("orders", RetentionOutcome.KEPT)
    assert orders.detail.startswith("sales.minimum_age has no age of payments by order_month")
    assert (sessions.store, sessions.outcome, sessions.count) == ("sessions", RetentionOutcome.GOES, 1)


def test_an_erased_persons_events_go_and_no_others(retention: OltpRetention, shop: Connection, day: datetime) -> None:
    mine, other, anothers = event(shop, day), event(shop, day), event(shop, day, "another")
    assert retention.erase_events(EVENTS, "t", [mine, anothers, str(uuid4())]) == 1
    leaf = leaf_of(retention, day)
    assert (event_ids(retention, leaf, "t"), event_ids(retention, leaf, "another")) == ([other], [anothers])
    assert retention.event_sums(EVENTS, leaf, []) == event_proof(retention, leaf, "t", "another")


def test_partitions_are_made_ahead_with_retentions_own_role(retention: OltpRetention, shop: Connection) -> None:
    assert retention.make_partitions(date(2090, 1, 15), date(2090, 2, 1)) == 2 * 2 * 4 + 2 * (31 + 28)
    assert retention.make_partitions(date(2090, 1, 15), date(2090, 2, 1)) == 0
    order(shop, date(2090, 2, 1))


def test_a_table_that_does_not_age_is_refused(retention: OltpRetention) -> None:
    with pytest.raises(HeadraceError, match="ages_by"):
        retention.row_sums(replace(ORDERS, ages_by=None), date(2000, 1, 1), [])
