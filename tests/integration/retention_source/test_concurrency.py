"""Retention beside writers, readers and other retention runs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import errors

from operations import connections
from operations.retention.errors import Busy
from operations.retention.source import OltpRetention
from schemas.errors import Unavailable, Unproven
from schemas.tables import EVENTS
from tests.support.eventually import eventually
from tests.support.source_rows import (
    NOW,
    TRADE,
    Connection,
    blocked_by,
    counts,
    event,
    event_proof,
    late_line,
    late_order,
    late_payment,
    leaf_of,
    order,
    proof,
    trade,
)

AT_ONCE = "SET lock_timeout = '100ms'"  # who waits longer was blocked


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
def test_a_writer_into_a_month_being_deleted_waits_and_gets_an_error(  # noqa: PLR0917
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


def test_writes_to_other_days_continue_while_a_leaf_is_dropped(
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


def test_writes_to_other_months_continue_while_one_is_deleted(
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


def test_writes_to_other_months_continue_while_one_is_proven(
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


def test_a_long_reader_makes_retention_give_up_and_no_writer_wait(
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
    with retention.lock(), pytest.raises(Unavailable, match="another retention run is active"), another.lock():
        pass
    with another.lock():
        pass


def test_a_server_that_went_away_is_worth_another_try(
    retention: OltpRetention, role: Connection, superuser: Connection
) -> None:
    superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [role.info.backend_pid])
    with pytest.raises(Unavailable):
        retention.leaves(EVENTS)
