"""The catalog in memory."""

import logging
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from schemas.decoders.values import microseconds
from streams.asof import CatalogEntry
from streams.catalog import Catalog
from streams.log_filter import RateLimitedFilter

T0 = datetime(2026, 1, 1, tzinfo=UTC)


def test_what_was_written_a_slack_before_a_heartbeat_is_known():
    catalog = Catalog(slack=timedelta(seconds=1))
    catalog.heartbeat(T0)
    assert catalog.watermark == microseconds(T0) - 1_000_000


def test_an_older_heartbeat_sent_again_does_not_set_the_watermark_back():
    catalog = Catalog()
    catalog.heartbeat(T0)
    known = catalog.watermark
    catalog.heartbeat(T0 - timedelta(hours=1))
    assert catalog.watermark == known


def test_an_entry_read_twice_counts_once():
    catalog = Catalog()
    for _ in range(2):
        catalog.add(("t", "s"), CatalogEntry(1, "n", "c", Decimal(1)))
    assert (catalog.entries, len(catalog.history(("t", "s")))) == (1, 1)


def test_an_entry_below_the_watermark_is_late_unless_it_is_known_or_its_product_is_new():
    catalog = Catalog(slack=timedelta(0))
    first, second = (
        CatalogEntry(microseconds(T0), "n", "c", Decimal(1)),
        CatalogEntry(microseconds(T0) + 5, "n", "c", Decimal(2)),
    )
    catalog.heartbeat(T0 + timedelta(microseconds=5))
    assert not catalog.add(("t", "s"), first)
    assert catalog.add(("t", "s"), second)
    assert not catalog.add(("t", "s"), second)
    assert not catalog.add(("t", "s"), second._replace(valid_from=microseconds(T0) + 6))


def test_a_product_that_gets_an_entry_is_told():
    catalog = Catalog()
    catalog.add(("t", "s"), CatalogEntry(1, "n", "c", Decimal(1)))
    assert list(catalog.arrived) == [("t", "s")]


def test_a_tenant_never_sees_anothers_product():
    catalog = Catalog()
    catalog.add(("t", "s"), CatalogEntry(1, "n", "c", Decimal(1)))
    assert catalog.history(("other", "s")) == ()


def test_a_broker_that_is_away_is_not_said_ten_times_a_second(caplog):
    logger = logging.getLogger("aiokafka.test")
    logger.addFilter(RateLimitedFilter())
    for port in range(10):
        logger.error("Unable connect to node %s", port)
    logger.error("something else")
    assert caplog.messages == ["Unable connect to node 0", "something else"]
