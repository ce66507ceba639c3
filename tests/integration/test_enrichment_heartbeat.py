"""The catalog's heartbeat, on a real MongoDB wire."""

import logging
from datetime import UTC, datetime, timedelta

from operations import connections
from streams import heartbeat
from streams.heartbeat import HeartbeatWriter


def test_a_heartbeat_holds_the_servers_time(settings):
    writer = HeartbeatWriter(connections.catalog_uri(settings), settings.catalog.database)
    writer.beat()
    writer.beat()
    writer.stop()
    catalog = connections.catalog(settings)
    found = catalog["heartbeat"].find_one({"_id": "heartbeat"})
    catalog.client.close()
    assert abs(found["at"] - datetime.now(UTC)) < timedelta(seconds=60)


def test_a_mongodb_that_is_down_is_said_once_and_stops_nothing(caplog, monkeypatch):
    monkeypatch.setattr(heartbeat, "_TIMEOUT_MS", 50)
    writer = HeartbeatWriter("mongodb://127.0.0.1:9/", "catalog")
    with caplog.at_level(logging.INFO, "headrace.enrich"):
        writer.beat()
        writer.beat()
    writer.stop()
    (line,) = caplog.messages
    assert "docs/runbook.md#catalog-heartbeat" in line
