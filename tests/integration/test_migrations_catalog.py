"""Migrate the catalog in MongoDB."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import DuplicateKeyError

from migrations.errors import MigrationFailed
from operations.migrate import migrate_catalog
from operations.settings import Settings
from tests.support.migrated import NOW


@pytest.fixture
def empty_catalog(settings: Settings) -> Iterator[Settings]:
    """Settings that name an empty database of the catalog's server, which is dropped at the end."""
    database = f"test_migrations_{secrets.token_hex(4)}"
    yield settings.model_copy(update={"catalog": settings.catalog.model_copy(update={"database": database})})
    with MongoClient[dict[str, Any]](settings.catalog.uri) as client:
        client.drop_database(database)


def test_the_catalog_is_migrated_once_and_is_unique_on_its_keys(empty_catalog: Settings) -> None:
    applied = migrate_catalog(empty_catalog)
    assert applied[:3] == ["0001_collections", "0002_indexes", "0003_heartbeat"]
    assert migrate_catalog(empty_catalog) == []
    with MongoClient[dict[str, Any]](empty_catalog.catalog.uri, tz_aware=True) as client:
        database = client[empty_catalog.catalog.database]
        beat = database["heartbeat"].find_one({"_id": "heartbeat"})
        assert beat is not None
        assert abs((beat["at"] - datetime.now(UTC)).total_seconds()) < 60
        database["price_history"].insert_one({"_id": 1, "tenant_id": "a", "sku": "b", "valid_from": NOW})
        with pytest.raises(DuplicateKeyError):
            database["price_history"].insert_one({"_id": 2, "tenant_id": "a", "sku": "b", "valid_from": NOW})


def test_two_migrations_of_the_catalog_at_once_do_no_harm(empty_catalog: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(migrate_catalog, empty_catalog) for _ in range(2)]:
            run.result()
    assert migrate_catalog(empty_catalog) == []


def test_a_catalog_that_is_not_there_is_named_by_its_setting(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operations.migrate.CONNECT_SECONDS", 0.2)
    catalog = settings.catalog.model_copy(update={"uri": "mongodb://127.0.0.1:1"})
    wrong = settings.model_copy(update={"catalog": catalog})
    with pytest.raises(MigrationFailed, match=r"^catalog: no server \(127\.0\.0\.1:1: .*HEADRACE_CATALOG__URI$"):
        migrate_catalog(wrong)
