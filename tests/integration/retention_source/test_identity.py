"""An event is identified by its tenant, its day and its id."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from psycopg import errors

from operations.retention.proof import proven_event_of
from operations.retention.source import Leaf, OltpRetention
from schemas.errors import Unproven
from schemas.tables import EVENTS
from tests.support.source_rows import Connection, event, event_proof, leaf_of


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
    """Return a leaf without its unique index, which older leaves lack."""
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
    assert len({proven_event_of(EVENTS)(row) for row in retention.events(EVENTS, leaf, "t")}) == 2
