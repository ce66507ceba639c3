"""Upgrade a source database that already holds rows: its revisions keep rows, rights and writers."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import errors

from migrations.errors import MigrationFailed
from operations import connections
from operations.migrate import migrate_oltp
from operations.settings import Settings
from tests.support.databases import Connection
from tests.support.eventually import eventually
from tests.support.migrated import NOW, OLTP_CHAIN, OLTP_VERSIONS
from tests.support.oltp_rows import outbox_row


def test_sessions_move_into_their_partitions(empty: Callable[[], Settings]) -> None:
    settings = empty()
    at = settings.oltp
    before = datetime(2026, 1, 31, 23, 59, 59, 999999, UTC)
    rows = [("tenant", "old", before), ("tenant", "new", NOW)]
    with psycopg.connect(
        host=at.host,
        port=at.port,
        dbname=at.database,
        user="migrator",
        password=at.migrator_password.get_secret_value(),
    ) as owner:
        owner.execute("CREATE SCHEMA sales")
        for name in OLTP_CHAIN[:5]:
            owner.execute((OLTP_VERSIONS / f"{name}.sql").read_bytes())
        owner.execute("CREATE TABLE sales.schema_version (version_num varchar(32) PRIMARY KEY)")
        owner.execute("INSERT INTO sales.schema_version VALUES ('0005')")
        for row in rows:
            owner.execute("INSERT INTO sales.sessions (tenant_id, session_id, started_at) VALUES (%s, %s, %s)", row)
        shape = table_shape(owner)
        owner.commit()
        assert migrate_oltp(settings)[0] == "0006_retention"
        found = owner.execute("SELECT tenant_id, session_id, started_at FROM sales.sessions ORDER BY started_at")
        assert found.fetchall() == rows
        shape["rights"].remove(("retention", "DELETE"))  # by their function alone, since 0009
        assert table_shape(owner) == shape
        with pytest.raises(errors.CheckViolation):
            owner.execute("INSERT INTO sales.sessions (tenant_id, session_id) VALUES ('a', 'ends with a space ')")


OLD = NOW - timedelta(days=40)
LEAVES = {f"outbox_events_{at:%Y_%m_%d}" for at in (OLD, NOW)}
HOLD_INDEX = """
CREATE FUNCTION public.hold_index() RETURNS event_trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1, 1); END $$;
CREATE EVENT TRIGGER hold_index ON ddl_command_end WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.hold_index()
"""


@pytest.fixture
def with_events(empty: Callable[[], Settings]) -> Iterator[tuple[Settings, Connection]]:
    """A source at revision 0006 with an event in an old leaf and one in today's, and its owner's connection."""
    settings = empty()
    with connections.oltp(settings, "migrator") as owner:
        owner.execute("CREATE SCHEMA sales")
        for name in OLTP_CHAIN[:6]:
            owner.execute((OLTP_VERSIONS / f"{name}.sql").read_bytes())
        owner.execute("CREATE TABLE sales.schema_version (version_num varchar(32) PRIMARY KEY)")
        owner.execute("INSERT INTO sales.schema_version VALUES ('0006')")
        for at in (OLD, NOW):
            owner.execute("SELECT sales.make_partitions(%s, %s)", (at.date(), at.date()))
            owner.execute(*outbox_row(occurred_at=at))
        yield settings, owner


def indexes(owner: Connection) -> set[str]:
    """The leaves of the outbox that have their unique index."""
    found = owner.execute("SELECT tablename FROM pg_indexes WHERE indexname = tablename || '_identity'")
    return {name for (name,) in found}


def version(owner: Connection) -> str:
    (found,) = owner.execute("SELECT version_num FROM sales.schema_version").fetchall()
    return str(found[0])


def test_orders_go_on_while_an_old_leaf_gets_its_index(
    with_events: tuple[Settings, Connection], superuser: Connection
) -> None:
    settings, owner = with_events
    at = settings.oltp
    password = superuser.info.password
    waits = (
        "SELECT FROM pg_locks JOIN pg_database AS here ON here.oid = database AND datname = current_database() "
        "WHERE locktype = 'advisory' AND classid = 1 AND objid = 1 AND NOT granted"
    )
    with (
        psycopg.connect(host=at.host, port=at.port, dbname=at.database, user="postgres", password=password) as holder,
        connections.oltp(settings, "app_writer") as shop,
        ThreadPoolExecutor(1) as pool,
    ):
        holder.execute(HOLD_INDEX)
        holder.commit()
        holder.execute("SELECT pg_advisory_xact_lock(1, 1)")
        run = pool.submit(migrate_oltp, settings)
        try:
            eventually(lambda: run.done() or owner.execute(waits).fetchone() is not None)
            shop.execute("SET lock_timeout = '100ms'")  # who waits longer was blocked
            shop.execute(*outbox_row(event_id="00000000-0000-0000-0000-000000000002"))
            assert version(owner) == "0007"
        finally:
            holder.rollback()
        assert run.result() == OLTP_CHAIN[6:]
    assert indexes(owner) >= LEAVES


def test_a_revision_that_fails_leaves_those_before_it_and_is_run_again(
    with_events: tuple[Settings, Connection],
) -> None:
    settings, owner = with_events
    limited = settings.model_copy(update={"oltp": settings.oltp.model_copy(update={"max_value_bytes": 3_000_000})})
    again = OLD.replace(hour=(OLD.hour + 1) % 24)
    owner.execute(*outbox_row(occurred_at=again))
    for _ in range(2):
        with pytest.raises(MigrationFailed, match=r"0008_event_identity.sql: .*same tenant, day and id"):
            migrate_oltp(limited)
        assert version(owner) == "0007"
        assert indexes(owner) == set()
        assert owner.execute("SELECT sales.max_value_bytes()").fetchone() == (3_000_000,)
    owner.execute("DELETE FROM sales.outbox_events WHERE occurred_at = %s", [again])
    assert migrate_oltp(limited) == OLTP_CHAIN[7:]
    assert indexes(owner) >= LEAVES


def table_shape(connection: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """Columns, checks and rights of the sessions."""
    return {
        "columns": connection.execute(
            "SELECT column_name, data_type, character_maximum_length, is_nullable, column_default "
            "FROM information_schema.columns WHERE table_name = 'sessions' ORDER BY ordinal_position"
        ).fetchall(),
        "checks": connection.execute(
            "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE conrelid = 'sales.sessions'::regclass AND contype = 'c' ORDER BY conname"
        ).fetchall(),
        "rights": connection.execute(
            "SELECT grantee, privilege_type FROM information_schema.role_table_grants "
            "WHERE table_name = 'sessions' ORDER BY grantee, privilege_type"
        ).fetchall(),
        "indexes": connection.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'sessions' ORDER BY indexname"
        ).fetchall(),
    }
