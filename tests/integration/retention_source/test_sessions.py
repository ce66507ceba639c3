"""Sessions, erased events and partitions made ahead."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from operations.migrate import make_partitions
from operations.months import month as month_of
from operations.retention.item import RetentionOutcome
from operations.retention.policy import Age, Policy
from operations.retention.run import retention_items
from operations.retention.source import OltpRetention
from operations.retention.stores import Stores
from operations.settings import Settings
from schemas.errors import HeadraceError
from schemas.tables import EVENTS, ORDERS
from tests.support.source_rows import NOW, Connection, event, event_ids, event_proof, insert, leaf_of, order, partitions


def session(shop: Connection, session_id: str, started: datetime, seen: datetime, tenant: str = "t") -> None:
    row = {"tenant_id": tenant, "session_id": session_id, "started_at": started, "last_seen_at": seen}
    insert(shop, "sessions", row)


def sessions(connection: Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT session_id FROM sales.sessions ORDER BY 1")]


def session_days(connection: Connection, at: datetime) -> list[str]:
    """Return the days of a month that have a partition."""
    found = connection.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ %s ORDER BY 1", [f"^sessions_{at:%Y_%m}_"]
    )
    return [name[-2:] for (name,) in found]


@pytest.fixture
def split_tables() -> dict[str, str]:
    """Return the tables whose month is partitioned by day, with the column that decides."""
    return {"outbox_events": "occurred_at", "sessions": "started_at"}


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
def test_a_part_that_the_source_protects_is_kept_and_other_parts_are_processed(
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
        events, orders, sessions = islice(retention_items(stores), 3)
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
