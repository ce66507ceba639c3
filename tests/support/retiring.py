"""Retention of a whole pipeline by the `headrace` command, killed at given steps and then completed."""

from collections.abc import Iterable
from datetime import timedelta

import orjson

from schemas.failpoints import FailPoint
from schemas.tables import ORDERS
from tests.support.aged import A_DAY_OLDER, LAST_SEASON, LONG_AGO, TODAY, TRADE, Aged
from tests.support.eventually import eventually
from tests.support.pipeline import OwnPipeline


def settled(aged: Aged) -> None:
    """Return when everything written so far has landed and is archived."""
    assert aged.pipeline.verify()["equal"]
    eventually(lambda: set(aged.archived_events()) >= set(aged.events))


def apply(pipeline: OwnPipeline, *more: str, expect: int = 0, **environment: str) -> list[dict]:
    out = pipeline.run("retention", "apply", "--json", *more, expect=expect, **environment)
    return orjson.loads(out[out.index("[") : out.rindex("]") + 1])


def killed_and_completed(aged: Aged, kills: Iterable[tuple[FailPoint, int]]) -> None:
    """Check that after each kill all is in a store, and that a last run deletes all that is old.

    Each run goes on where the one before was killed. Only a pipeline on which retention has not run yet reaches every
    step: what is older than a cutoff does not land again.
    """
    for tenant in ("old-a", "old-b"):
        for at in (*LONG_AGO, *LAST_SEASON, A_DAY_OLDER):
            aged.event(tenant, at)
        for at in LONG_AGO:
            aged.order(tenant, at)
    aged.shop.execute(
        "INSERT INTO sales.sessions (tenant_id, session_id, started_at, last_seen_at) VALUES ('old-a', 's', %s, %s)",
        [TODAY - timedelta(days=31), TODAY - timedelta(days=31)],
    )
    settled(aged)
    for point, times in kills:
        aged.pipeline.dies(point, times, "retention", "apply")
        archived = aged.archived_events()
        assert len(archived) == len(set(archived))
        assert set(aged.events) <= set(archived), point
        assert aged.orders <= {*aged.hot_orders(), *aged.archived(ORDERS)}, point

    assert {item["outcome"] for item in apply(aged.pipeline)} <= {"gone"}
    assert apply(aged.pipeline) == []
    assert aged.hot_events() == aged.reported_events() == aged.hot_orders() == set()
    assert aged.reported_rows() == 0
    assert aged.orders <= set(aged.archived(ORDERS))
    for table in TRADE:
        for topic in {*table.captured_topics, *table.landed_topics}:
            ours = {key: dead for key, dead in aged.last_values(topic).items() if b'"old-' in key}
            assert len(ours) >= len(aged.orders), topic
            assert all(ours.values()), (topic, ours)
    assert aged.pipeline.verify()["equal"]
