"""Partitions of the source: which exist, what each carries, and how later ones are made."""

from concurrent.futures import ThreadPoolExecutor
from datetime import date

import pytest
from psycopg import errors, sql

from operations.migrate import make_partitions
from operations.settings import Settings
from schemas.tables import TABLES, Source
from tests.support.databases import Connection
from tests.support.migrated import TODAY, Login
from tests.support.oltp_rows import order_row, outbox_row


def leaves(connection: Connection, root: str) -> dict[str, str]:
    """The leaves of a table, with their replica identity."""
    return dict(
        connection.execute(
            "SELECT class.relname, class.relreplident::text FROM pg_partition_tree(%s::regclass) AS tree "
            "JOIN pg_class AS class ON class.oid = tree.relid WHERE tree.isleaf",
            [f"sales.{root}"],
        )
    )


CAPTURED_STATE = [table.relation for table in TABLES if table.source is Source.POSTGRES]


@pytest.mark.parametrize("table", CAPTURED_STATE)
def test_every_captured_leaf_carries_whole_rows_later_months_included(
    table: str, migrated: Settings, login: Login
) -> None:
    make_partitions(migrated, date(2031, 1, 15), date(2031, 2, 1))
    found = leaves(login("migrator"), table)
    assert set(found.values()) == {"f"}
    if table == "payments":  # not by month
        assert len(found) == 4
    else:
        assert {f"{table}_2031_0{month}_{remainder}" for month in (1, 2) for remainder in range(4)} <= set(found)


def test_partitions_are_there_from_last_month_to_three_months_ahead(login: Login) -> None:
    found = leaves(login("migrator"), "orders")
    wanted = {months_from(TODAY, offset) for offset in range(-1, 4)}
    assert {f"orders_{month:%Y_%m}_0" for month in wanted} <= set(found)


def months_from(day: date, offset: int) -> date:
    months = day.year * 12 + day.month - 1 + offset
    return date(months // 12, months % 12 + 1, 1)


def test_partitions_that_are_there_are_left_alone(migrated: Settings) -> None:
    days = date(2032, 11, 3), date(2033, 1, 1)
    events: list[str] = []
    assert make_partitions(migrated, *days, events.append) == 2 * 3 * 4 + 2 * (30 + 31 + 31)
    assert make_partitions(migrated, *days, events.append) == 0
    assert events == ["oltp: 208 partitions for 2032-11 to 2033-01"]


def test_partitions_may_be_made_beside_each_other(migrated: Settings) -> None:
    days = date(2035, 1, 1), date(2035, 3, 1)
    with ThreadPoolExecutor(2) as pool:
        made = [run.result() for run in [pool.submit(make_partitions, migrated, *days) for _ in range(2)]]
    assert sum(made) == 2 * 3 * 4 + 2 * (31 + 28 + 31)


def test_a_range_of_days_in_the_wrong_order_is_refused(login: Login) -> None:
    with pytest.raises(errors.RaiseException, match="expected a first and a last day"):
        login("migrator").execute("SELECT sales.make_partitions('2030-02-01', '2030-01-01')")


def test_partitions_are_made_while_somebody_reads_and_writes(migrated: Settings, login: Login) -> None:
    reader, writer = login("cdc_reader"), login("app_writer")
    reader.execute("SELECT count(*) FROM sales.outbox_events")
    writer.execute(*outbox_row())
    assert make_partitions(migrated, date(2034, 5, 1), date(2034, 5, 1)) == 8 + 31 + 31


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo"])
@pytest.mark.parametrize(
    ("instant", "leaf"),
    [
        ("2031-01-31 23:59:59.999999+00", "outbox_events_2031_01_31"),
        ("2031-02-01 00:00:00+00", "outbox_events_2031_02_01"),
    ],
)
def test_an_event_lies_in_the_leaf_of_its_day_in_utc(
    zone: str, instant: str, leaf: str, migrated: Settings, login: Login
) -> None:
    make_partitions(migrated, date(2031, 1, 1), date(2031, 2, 1))
    connection = login("app_writer")
    connection.execute(sql.SQL("SET LOCAL TimeZone = {}").format(zone))
    found = connection.execute(*outbox_row(occurred_at=instant, returning="tableoid::regclass::text")).fetchone()
    assert found == (f"sales.{leaf}",)


def test_a_month_of_history_is_one_leaf_of_the_outbox(migrated: Settings, login: Login) -> None:
    make_partitions(migrated, date(2017, 2, 1), date(2017, 2, 28))
    found = leaves(login("migrator"), "outbox_events")
    assert [name for name in found if name.startswith("outbox_events_2017")] == ["outbox_events_2017_02"]


def test_a_row_beyond_the_last_month_is_refused(login: Login) -> None:
    with pytest.raises(errors.CheckViolation, match="no partition"):
        login("app_writer").execute(*order_row(order_month="2099-01-01"))
