"""No proof removes rows that are too young, or rows of a tenant under a legal hold."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from operations.migrate import make_partitions
from operations.months import month as month_of
from operations.retention.errors import Protected
from operations.retention.source import OltpRetention
from operations.settings import Settings
from schemas.tables import EVENTS
from tests.support.source_rows import (
    NOTES,
    NOW,
    TRADE,
    Connection,
    counts,
    event,
    event_proof,
    leaf_of,
    note,
    proof,
    trade,
)

YOUNG = month_of(NOW.date(), -6 * 12 - 11)  # its last day is less than seven years ago


def own_proof(role: Connection, month: date) -> str:
    """Return the proof that the role retention can compute without an archive."""
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
    """The proof protects against mistakes; the minimum age also protects against a stolen password."""
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
