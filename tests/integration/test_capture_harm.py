"""Capture under harm, on lines of its own: snapshots, kills, lost slots, lacking identities, schema changes."""

import json
import os
import signal
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from connectors import apply, kafka_topics
from connectors.connect import ConfigRefused, Connect
from connectors.pipeline import Pipeline
from connectors.plan import AlterTopic, PlanRefused, SetFullIdentity
from operations.settings import Settings
from schemas.change import Change, Op
from schemas.errors import BadRecord, HeadraceError, Unavailable
from schemas.tables import Column, Source, Table
from schemas.topics import Replication, Topic
from schemas.types import Numeric, Text
from stack import supervisor
from tests.support.captured import (
    THINGS,
    THINGS_DDL,
    Connection,
    Reading,
    Record,
    Stage,
    eventually,
    landed,
    newest,
    servers,
    stage,
)

TOPIC = "shop.sales.things"

PARTED = Table(
    name="parted",
    source=Source.POSTGRES,
    schema="sales",
    key=("id",),
    columns=(
        Column(name="id", type=Text(64)),
        Column(name="version", type=Numeric(19, 4)),
        Column(name="note", type=Text(), nullable=True),
    ),
    partitions=1,
)
PARTED_DDL = """
CREATE TABLE sales.parted (id text PRIMARY KEY, version numeric(19,4) NOT NULL, note text) PARTITION BY HASH (id);
ALTER TABLE sales.parted REPLICA IDENTITY FULL;
CREATE TABLE sales.parted_0 PARTITION OF sales.parted FOR VALUES WITH (MODULUS 1, REMAINDER 0);
ALTER TABLE sales.parted_0 REPLICA IDENTITY FULL;
GRANT SELECT ON sales.parted TO cdc_reader;
"""
REFUNDS = Table(
    name="refunds",
    source=Source.POSTGRES,
    schema="sales",
    key=("id",),
    columns=(Column(name="id", type=Text(64)), Column(name="amount", type=Numeric(19, 4))),
    partitions=1,
)
REFUNDS_DDL = """
CREATE TABLE sales.refunds (id text PRIMARY KEY, amount numeric(19,4) NOT NULL);
ALTER TABLE sales.refunds REPLICA IDENTITY FULL;
GRANT SELECT ON sales.refunds TO cdc_reader;
"""


@pytest.fixture(scope="module")
def harm(settings: Settings, stack_folder: Path) -> Iterator[Stage]:
    """A streaming line with a plain and a partitioned table, for what harms no other test of this file."""
    with stage(settings, stack_folder, "harm", THINGS_DDL + PARTED_DDL, THINGS, PARTED) as own:
        own.start()
        yield own


@pytest.fixture
def source(harm: Stage) -> Iterator[Connection]:
    with harm.connect() as connection:
        yield connection


def mark(connection: Connection, table: str = "things") -> bytes:
    """Write a row behind all else; its record's key."""
    name = f"marker-{uuid.uuid4()}"
    connection.execute(f"INSERT INTO sales.{table} (id, version) VALUES (%s, 0)", [name])
    return b'{"id":"%s"}' % name.encode()


def changes(records: list[Record], key: str, table: Table = THINGS) -> list[Any]:
    wanted = b'{"id":"%s"}' % key.encode()
    return [record.change(table) for record in records if record.key == wanted]


def transaction_id(connection: Connection) -> str:
    row = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    assert row is not None
    return str(row[0])


def is_waited_for(connection: Connection, xid: str) -> bool:
    return bool(
        connection.execute(
            "SELECT FROM pg_locks WHERE locktype = 'transactionid' AND NOT granted AND transactionid = %s::xid", [xid]
        ).rowcount
    )


def test_a_transaction_older_than_the_snapshot_that_commits_after_it_wins_over_the_snapshot_read(
    settings: Settings, stack_folder: Path
) -> None:
    """The slot waits for `first`, then for `second`; what begins meanwhile is in the log below the snapshot's LSN."""
    with stage(settings, stack_folder, "harm_snapshot", THINGS_DDL, THINGS) as own, own.connect() as watch:
        watch.execute("INSERT INTO sales.things VALUES ('k', 0)")
        with own.connect(autocommit=False) as first, own.connect(autocommit=False) as second:
            with own.connect(autocommit=False) as older:
                waited_for = transaction_id(first)
                beats = apply.apply(apply.plan(own.line, own.servers), own.servers)
                eventually(lambda: is_waited_for(watch, waited_for))
                waited_for = transaction_id(second)
                first.commit()
                eventually(lambda: is_waited_for(watch, waited_for))
                older.execute("UPDATE sales.things SET version = 1 WHERE id = 'k'")
                second.commit()
                eventually(lambda: own.records(TOPIC))
                older.commit()
            apply.wait_ready(own.line, own.servers, beats)
        records = own.until(TOPIC, mark(watch))
    read, update = [record for record in records if record.key == b'{"id":"k"}']
    assert (read.datum["op"], update.datum["op"]) == ("r", "u")
    assert update.datum["source"]["lsn"] < read.datum["source"]["lsn"], "the case did not arise"
    assert newest(changes(records, "k"))["k",].row == ("k", Decimal("1.0000"), None, None, None)


def test_the_first_transaction_behind_the_snapshot_of_a_capture_applied_again_is_newer_than_all_before(
    settings: Settings, stack_folder: Path
) -> None:
    """Debezium knows no earlier commit then, while the landed row keeps the place in the log that it had before."""
    with stage(settings, stack_folder, "harm_again", THINGS_DDL, THINGS) as own, own.connect() as source:
        source.execute("INSERT INTO sales.things SELECT 'other-' || i, 0 FROM generate_series(1, 20000) AS i")
        source.execute("INSERT INTO sales.things VALUES ('k', 1)")
        own.start()
        own.until(TOPIC, mark(source))
        source.execute("UPDATE sales.things SET version = 2 WHERE id = 'k'")
        own.until(TOPIC, mark(source))
        apply.remove(own.line, own.servers)
        source.execute("UPDATE sales.things SET version = 3 WHERE id = 'k'")
        beats = apply.apply(apply.plan(own.line, own.servers), own.servers)
        begun = "SELECT FROM pg_replication_slots WHERE slot_name = 'harm_again' AND confirmed_flush_lsn IS NOT NULL"
        eventually(lambda: source.execute(begun).rowcount)
        source.execute("UPDATE sales.things SET version = 4 WHERE id = 'k'")
        apply.wait_ready(own.line, own.servers, beats)
        records = [record for record in own.until(TOPIC, mark(source)) if record.key == b'{"id":"k"}']
        row = source.execute("SELECT * FROM sales.things WHERE id = 'k'").fetchone()
    assert [record.datum["op"] for record in records] == ["r", "u", "r", "u"]
    before, first = (json.loads(records[each].datum["source"]["sequence"]) for each in (1, 3))
    assert before[0] is not None and first[0] is None, "the case did not arise"
    assert newest(changes(records, "k"))["k",].row == row


def test_a_first_snapshot_may_take_its_time_but_not_stand_still(settings: Settings, stack_folder: Path) -> None:
    wares = replace(REFUNDS, name="wares")
    ddl = THINGS_DDL + REFUNDS_DDL.replace("refunds", "wares")
    with stage(settings, stack_folder, "harm_still", ddl, THINGS, wares) as own, own.connect() as source:
        source.execute("INSERT INTO sales.things SELECT 'k' || i, 0 FROM generate_series(1, 30000) AS i")
        beats = apply.apply(apply.plan(own.line, own.servers), own.servers)
        said: list[str] = []
        with own.connect(autocommit=False) as blocker:
            with Reading(settings, own.line.topic(TOPIC)) as reading:
                eventually(reading.catch_up)
            blocker.execute("LOCK TABLE sales.wares")  # it is read after the things
            with pytest.raises(Unavailable, match=r"^capture does not stream: .*; nothing has moved for 4 s$"):
                apply.wait_ready(own.line, own.servers, beats, deadline_s=4, on_wait=said.append)
            assert Connect(own.servers.connect_url).snapshotting(own.line.connector(Source.POSTGRES))
        apply.wait_ready(own.line, own.servers, beats)
    assert said and all(line.startswith("the first snapshot is being read; ") for line in said)


def delete_after_a_waiting_insert(own: Stage, key: str) -> None:
    """T1 inserts and deletes; T2's insert, which waited for T1, lies below T1's delete in the log, and is newer."""
    with own.connect() as watch, own.connect(autocommit=False) as t1, own.connect(autocommit=False) as t2:
        t1.execute("INSERT INTO sales.things VALUES (%s, 1)", [key])
        xid = transaction_id(t1)
        t2.execute("SET LOCAL lock_timeout = 0")
        pending = t2.pgconn
        pending.send_query(f"INSERT INTO sales.things VALUES ('{key}', 2)".encode())
        eventually(lambda: is_waited_for(watch, xid))
        t1.execute("DELETE FROM sales.things WHERE id = %s", [key])
        t1.commit()
        while (result := pending.get_result()) is not None:
            assert result.status == psycopg.pq.ExecStatus.COMMAND_OK, result.error_message
        t2.commit()


def test_an_insert_that_waited_for_a_delete_wins_over_it_whatever_their_lsns(harm: Stage, source: Connection) -> None:
    delete_after_a_waiting_insert(harm, "waited")
    records = harm.until(TOPIC, mark(source))
    _insert, delete, insert = [record for record in records if record.key == b'{"id":"waited"}']
    assert (delete.datum["op"], insert.datum["op"]) == ("d", "c")
    assert insert.datum["source"]["lsn"] < delete.datum["source"]["lsn"], "the case did not arise"
    assert newest(changes(records, "waited"))["waited",].row == ("waited", Decimal("2.0000"), None, None, None)


def kill_connect(folder: Path) -> None:
    (pid,) = [server.pid for server in supervisor.status(folder) if server.name == "connect"]
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    supervisor.up(folder)


def test_a_kill_in_the_middle_of_interleaved_transactions_repeats_records_but_no_row_goes_back(
    harm: Stage, source: Connection, stack_folder: Path
) -> None:
    size = 40_000
    with harm.connect(autocommit=False) as long, harm.connect(autocommit=False) as other:
        long.execute("INSERT INTO sales.things SELECT 'kill-' || i % 7, i FROM generate_series(0, 6) AS i")
        long.commit()
        for start in range(7, size, 1000):
            # Two transactions write to keys of their own, in turns; each commits after the other began.
            long.execute(
                f"DO $$ BEGIN FOR i IN {start}..{start + 999} LOOP "
                "UPDATE sales.things SET version = i WHERE id = 'kill-' || i % 7; END LOOP; END $$"
            )
            other.execute("INSERT INTO sales.things VALUES (%s, 1)", [f"kill-other-{start}"])
            if start % 5 == 0:
                other.commit()
        delete_after_a_waiting_insert(harm, "kill-waited")
        before = len(harm.records(TOPIC))
        long.commit()
        other.commit()
    with Reading(harm.settings, harm.line.topic(TOPIC)) as reading:
        eventually(lambda: len(reading.catch_up()) > before + 2_000)
        sent = len(reading.found)
    kill_connect(stack_folder)
    records = harm.until(TOPIC, mark(source))
    assert sent < before + size, "the kill came after the transaction was sent; make it bigger"

    places = defaultdict(set)
    for record in records:
        if record.datum["op"] != "r":
            of = record.datum["source"]
            places[record.key, of["lsn"], record.datum["op"]].add(of["sequence"])
    assert all(len(found) == 1 for found in places.values()), "a repeat came with another place in the log"
    assert len(places) < len([record for record in records if record.datum["op"] != "r"]), "nothing was repeated"

    for each in range(7):
        log = changes(records, f"kill-{each}")
        versions = [change.row[1] for change, _ in landed(log)]
        assert versions == sorted(set(versions)), "an older row replaced a newer one"
    rows = source.execute("SELECT id, version FROM sales.things WHERE id LIKE 'kill-%'").fetchall()
    last = {}
    for name, _ in rows:
        *_, (last[name], _) = landed(changes(records, name))
    assert {name: change.row[1] for name, change in last.items()} == dict(rows)


def test_a_kill_in_the_middle_of_the_first_snapshot_loses_nothing_that_is_committed_meanwhile(
    settings: Settings, stack_folder: Path
) -> None:
    size, seen = 30_000, 2_000
    with stage(settings, stack_folder, "harm_first", THINGS_DDL, THINGS) as own, own.connect() as source:
        source.execute("INSERT INTO sales.things SELECT 'k' || i, 0 FROM generate_series(1, %s) AS i", [size])
        stop = threading.Event()

        def trade() -> None:
            with own.connect() as shop:
                turn = 0
                while not stop.wait(0.005):  # 200 updates a second
                    turn += 1
                    shop.execute(
                        "UPDATE sales.things SET version = %s WHERE id = %s", [turn, f"k{turn * 97 % size + 1}"]
                    )

        trader = threading.Thread(target=trade)
        trader.start()
        try:
            apply.apply(apply.plan(own.line, own.servers), own.servers)
            with Reading(settings, own.line.topic(TOPIC)) as reading:
                eventually(lambda: len(reading.catch_up()) > seen)
                assert len(reading.found) < size, "the kill came after the snapshot; make it bigger"
            kill_connect(stack_folder)
            apply.wait_ready(own.line, own.servers, {}, deadline_s=20)
        finally:
            stop.set()
            trader.join()
        records = own.until(TOPIC, mark(source))
        last: dict[Any, Change] = {}
        for change in (record.change(THINGS) for record in records):
            landed_before = last.get(change.key)
            if landed_before is None or change.position.wins_over(landed_before.position):
                last[change.key] = change
        rows = dict(source.execute("SELECT id, version FROM sales.things").fetchall())
        assert {key[0]: change.row[1] for key, change in last.items() if change.row} == rows


def test_a_leaf_without_full_identity_makes_a_bad_record_that_names_the_cure_and_the_plan_sets_it(
    harm: Stage, source: Connection
) -> None:
    big = "".join(str(uuid.uuid4()) for _ in range(4000))
    source.execute("INSERT INTO sales.parted VALUES ('toast', 1, %s)", [big])
    source.execute("UPDATE sales.parted SET version = 2 WHERE id = 'toast'")
    records = harm.until("shop.sales.parted", mark(source, "parted"))
    assert [change.row for change in changes(records, "toast", PARTED)][-1] == ("toast", Decimal("2.0000"), big)

    source.execute("ALTER TABLE sales.parted_0 REPLICA IDENTITY DEFAULT")
    source.execute("UPDATE sales.parted SET version = 3 WHERE id = 'toast'")
    records = harm.until("shop.sales.parted", mark(source, "parted"))
    *_, lacking = [record for record in records if record.key == b'{"id":"toast"}']
    with pytest.raises(BadRecord, match=r"note: .*REPLICA IDENTITY FULL .*#toast-placeholder"):
        lacking.change(PARTED)

    plan = apply.plan(harm.line, harm.servers)
    assert plan.changes == (SetFullIdentity(relation="sales.parted_0"),)
    apply.apply(plan, harm.servers)
    source.execute("UPDATE sales.parted SET version = 4 WHERE id = 'toast'")
    records = harm.until("shop.sales.parted", mark(source, "parted"))
    *_, mended = [record for record in records if record.key == b'{"id":"toast"}']
    assert mended.change(PARTED).row == ("toast", Decimal("4.0000"), big)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("version", "NaN"),
        ("at", "infinity"),
        ("at", "-infinity"),
        ("at", "10000-01-01 00:00:00+00"),
        ("at", "0044-03-15 00:00:00+00 BC"),
        ("day", "infinity"),
        ("day", "-infinity"),
        ("day", "10000-01-01"),
        ("day", "0044-03-15 BC"),
    ],
)
def test_a_value_that_reporting_cannot_hold_is_a_bad_record_never_another_value(
    harm: Stage, source: Connection, column: str, value: str
) -> None:
    row = {"id": f"{column} {value}", "version": "1"} | {column: value}
    source.execute(
        f"INSERT INTO sales.things ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", [*row.values()]
    )
    records = harm.until(TOPIC, mark(source))
    (record,) = [record for record in records if record.key == b'{"id":"%s"}' % row["id"].encode()]
    with pytest.raises(BadRecord, match=f"^{column}: "):
        record.change(THINGS)


def test_microseconds_and_the_ends_of_time_arrive_as_they_are(harm: Stage, source: Connection) -> None:
    times = [
        "0001-01-01 00:00:00+00",
        "9999-12-31 23:59:59.999999+00",
        "2026-10-25 02:30:00.1+02",
        "1900-01-01 00:00+00",
    ]
    for index, at in enumerate(times):
        source.execute("INSERT INTO sales.things VALUES (%s, -12345.6789, %s, %s)", [f"time-{index}", at, at])
    records = harm.until(TOPIC, mark(source))
    rows = source.execute(
        "SELECT id, version, at, day, note FROM sales.things WHERE id LIKE 'time-%' ORDER BY id"
    ).fetchall()
    assert [changes(records, f"time-{index}")[0].row for index in range(len(times))] == rows


def test_truncate_is_not_published(harm: Stage, source: Connection) -> None:
    source.execute("INSERT INTO sales.parted VALUES ('kept', 1)")
    source.execute("TRUNCATE sales.parted")
    records = harm.until("shop.sales.parted", mark(source, "parted"))
    assert {record.datum["op"] for record in records} <= {"c", "u", "d", "r"}
    assert [change.op for change in changes(records, "kept", PARTED)] == [Op.CREATE]


def test_columns_added_renamed_and_dropped_meanwhile_are_written_with_the_schema_that_was_then(
    harm: Stage, source: Connection
) -> None:
    source.execute("INSERT INTO sales.things VALUES ('ddl-1', 1)")
    with source.transaction():
        source.execute("ALTER TABLE sales.things ADD COLUMN extra text")
        source.execute("INSERT INTO sales.things (id, version, extra) VALUES ('ddl-2', 2, 'x')")
    source.execute("ALTER TABLE sales.things RENAME COLUMN extra TO more")
    source.execute("INSERT INTO sales.things (id, version, more) VALUES ('ddl-3', 3, 'y')")
    source.execute("ALTER TABLE sales.things DROP COLUMN more")
    source.execute("UPDATE sales.things SET version = 4 WHERE id = 'ddl-3'")
    records = harm.until(TOPIC, mark(source))
    found = {
        (record.datum["after"]["id"], Decimal(record.datum["after"]["version"])): set(record.datum["after"])
        - {"id", "version"}
        for record in records
        if record.key and record.key.startswith(b'{"id":"ddl-')
    }
    assert found == {
        ("ddl-1", 1): {"at", "day", "note"},
        ("ddl-2", 2): {"at", "day", "note", "extra"},
        ("ddl-3", 3): {"at", "day", "note", "more"},
        ("ddl-3", 4): {"at", "day", "note"},
    }
    rows = dict(source.execute("SELECT id, version FROM sales.things WHERE id LIKE 'ddl-%'").fetchall())
    assert {name: changes(records, name)[-1].row[1] for name in rows} == rows

    source.execute("ALTER TABLE sales.things RENAME COLUMN note TO remark")
    source.execute("INSERT INTO sales.things (id, version) VALUES ('ddl-5', 5)")
    source.execute("ALTER TABLE sales.things RENAME COLUMN remark TO note")
    records = harm.until(TOPIC, mark(source))
    with pytest.raises(BadRecord, match=r"^note: the record lacks this field; is the migration ahead"):
        changes(records, "ddl-5")


def test_copied_rows_that_share_an_lsn_all_arrive_and_are_older_than_what_follows(
    harm: Stage, source: Connection
) -> None:
    with source.cursor().copy("COPY sales.things (id, version) FROM STDIN") as copy:
        for each in range(500):
            copy.write_row((f"copy-{each}", 1))
    source.execute("UPDATE sales.things SET version = 2 WHERE id LIKE 'copy-%'")
    records = [record for record in harm.until(TOPIC, mark(source)) if b'"copy-' in (record.key or b"")]
    created = [record.datum["source"]["lsn"] for record in records if record.datum["op"] == "c"]
    assert len(created) == 500 and len(set(created)) < 500, "the case did not arise"
    last = newest(
        [record.change(THINGS) for record in records if record.key in (b'{"id":"copy-0"}', b'{"id":"copy-9"}')]
    )
    assert {change.row[1] for change in last.values()} == {2}


def test_a_table_declared_later_is_captured_with_the_rows_it_already_had(
    settings: Settings, stack_folder: Path
) -> None:
    with stage(settings, stack_folder, "harm_refunds", THINGS_DDL, THINGS) as own, own.connect() as source:
        own.start()
        source.execute("INSERT INTO sales.things VALUES ('before', 1)")
        source.execute(REFUNDS_DDL)
        source.execute("INSERT INTO sales.refunds SELECT 'old-' || i, i FROM generate_series(1, 50) AS i")
        more = Stage(
            settings=settings,
            line=Pipeline(
                name="harm_refunds", prefix="harm_refunds", database="harm_refunds", tables=(THINGS, REFUNDS)
            ),
            servers=own.servers,
        )
        plan = apply.plan(more.line, more.servers)
        said = "\n".join(plan.describe())
        assert "topic harm_refunds.sales.refunds: create with 1 partition(s)" in said
        assert "connector harm_refunds-postgres: update table.include.list" in said
        assert "publication harm_refunds: add sales.refunds; read the rows that sales.refunds already had" in said
        beats = apply.apply(plan, more.servers)
        source.execute("INSERT INTO sales.refunds VALUES ('new', 1)")
        source.execute("UPDATE sales.refunds SET amount = 77 WHERE id = 'old-7'")
        source.execute("DELETE FROM sales.refunds WHERE id = 'old-8'")
        apply.wait_ready(more.line, more.servers, beats)
        rows = dict(source.execute("SELECT id, amount FROM sales.refunds").fetchall())

        def complete() -> bool:
            log = [record.change(REFUNDS) for record in more.records("shop.sales.refunds")]
            last: dict[Any, Any] = {}
            for key in {change.key for change in log}:
                *_, (last[key], _) = landed(change for change in log if change.key == key)
            return {key[0]: change.row[1] for key, change in last.items() if change.row} == rows

        eventually(complete)
        assert apply.plan(more.line, more.servers).changes == ()

        plan = apply.plan(own.line, own.servers)
        assert "publication harm_refunds: drop sales.refunds" in plan.describe()
        apply.apply(plan, own.servers)
        assert apply.plan(own.line, own.servers).changes == ()


def test_a_lost_slot_stops_the_line_and_says_so(settings: Settings, stack_folder: Path) -> None:
    with stage(settings, stack_folder, "harm_slot", THINGS_DDL, THINGS) as own, own.connect() as source:
        own.start()
        source.execute("INSERT INTO sales.things VALUES ('before', 1)")
        own.until(TOPIC, b'{"id":"before"}')
        connect, name = Connect(own.servers.connect_url), own.line.connector(Source.POSTGRES)
        eventually(lambda: connect.offsets(name))
        connect.stop(name)
        eventually(
            lambda: (
                source.execute("SELECT FROM pg_replication_slots WHERE NOT active AND slot_name = 'harm_slot'").rowcount
            )
        )
        source.execute("SELECT pg_drop_replication_slot('harm_slot')")
        plan = apply.plan(own.line, own.servers)
        with pytest.raises(PlanRefused, match=r"^replication slot harm_slot: REFUSED: it is gone, .*#slot-missing$"):
            apply.apply(plan, own.servers)
        connect.resume(name)
        eventually(lambda: connect.status(name).failure)
        with pytest.raises(apply.CaptureFailed, match=f"connector {name} failed: "):
            apply.ready(own.line, own.servers, {})


def test_a_wrong_password_is_one_line_that_names_the_field(settings: Settings, stack_folder: Path) -> None:
    with stage(settings, stack_folder, "harm_password", THINGS_DDL, THINGS) as own:
        wrong = Pipeline(
            name="harm_password", prefix="harm_password", database="harm_password", tables=(THINGS,), password="no"
        )
        with pytest.raises(
            ConfigRefused, match=r"^connector harm_password-postgres: database\.\w+: .*password"
        ) as refused:
            apply.apply(apply.plan(wrong, own.servers), own.servers)
        assert "\n" not in str(refused.value)


def test_connect_or_postgres_or_kafka_down_is_one_clear_line(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_topics, "TIMEOUT", 1.0)
    good = servers(settings, settings.oltp.database)
    line = Pipeline()
    for place, which in {"connect_url": "Kafka Connect", "bootstrap": "Kafka", "oltp": "Postgres"}.items():
        address = {"connect_url": "http://127.0.0.1:9", "bootstrap": "127.0.0.1:9", "oltp": "host=127.0.0.1 port=9"}
        values = {name: getattr(good, name) for name in ("connect_url", "bootstrap", "oltp")} | {place: address[place]}
        with pytest.raises(Unavailable, match=f"^{which}.*(answer|reach)") as down:
            apply.plan(line, apply.Servers(**values))
        assert "\n" not in str(down.value)


def test_drifted_topics_are_mended_and_a_wrong_partition_count_is_refused(
    settings: Settings, stack_folder: Path
) -> None:
    with stage(settings, stack_folder, "harm_topics", THINGS_DDL, THINGS) as own:
        bootstrap = own.servers.bootstrap
        kafka_topics.create_topics(bootstrap, [Topic(name="harm_topics.sales.things", partitions=3, config={})])
        with pytest.raises(PlanRefused, match=r"topic harm_topics\.sales\.things: REFUSED: it has 3 partitions where"):
            apply.apply(apply.plan(own.line, own.servers), own.servers)
        assert httpx.get(f"{own.servers.connect_url}/connectors/harm_topics-postgres").status_code == 404
        kafka_topics.delete_topics(bootstrap, ["harm_topics.sales.things"])
        eventually(lambda: not kafka_topics.seen_topics(bootstrap, own.line.topics()))
        own.start()
        kafka_topics.alter_topic(bootstrap, "harm_topics.sales.things", {"cleanup.policy": "delete"})
        plan = apply.plan(own.line, own.servers)
        assert plan.changes == (AlterTopic(name="harm_topics.sales.things", config={"cleanup.policy": "compact"}),)
        apply.apply(plan, own.servers)
        assert eventually(lambda: apply.plan(own.line, own.servers).changes == ())


def test_a_setting_that_an_operator_added_outlives_apply(harm: Stage) -> None:
    connect, name = Connect(harm.servers.connect_url), harm.line.connector(Source.POSTGRES)
    before = connect.config(name)
    assert before is not None
    connect.put(name, before | {"errors.log.enable": "true", "errors.tolerance": "all"})
    plan = apply.plan(harm.line, harm.servers)
    assert [note.describe() for note in plan.notes] == [
        f"connector {name}: keeps what was added to it: errors.log.enable"
    ]
    beats = apply.apply(plan, harm.servers)
    apply.wait_ready(harm.line, harm.servers, beats)
    assert connect.config(name) == before | {"errors.log.enable": "true"}
    assert apply.plan(harm.line, harm.servers).changes == ()


def test_topics_with_fewer_replicas_than_production_needs_are_named(harm: Stage) -> None:
    line = replace(harm.line, replication=Replication(factor=3, in_sync=2))
    plan = apply.plan(line, harm.servers)
    assert {note.about for note in plan.notes if "1 replica(s)" in note.text} == {
        f"topic {topic.name}" for topic in line.topics()
    }
    assert not [step for step in plan.changes if isinstance(step, AlterTopic)]
    topic = Topic(name="harm.replicated", partitions=1, config={}, replicas=3)
    with pytest.raises(
        HeadraceError, match=r"fewer brokers than HEADRACE_KAFKA__REPLICATION_FACTOR .*#too-few-replicas"
    ):
        kafka_topics.create_topics(harm.servers.bootstrap, [topic])


def test_remove_leaves_nothing_but_the_records(settings: Settings, stack_folder: Path) -> None:
    with stage(settings, stack_folder, "harm_remove", THINGS_DDL, THINGS) as own, own.connect() as source:
        own.start()
        apply.remove(own.line, own.servers)
        assert source.execute("SELECT FROM pg_replication_slots WHERE slot_name = 'harm_remove'").rowcount == 0
        assert source.execute("SELECT FROM pg_publication").rowcount == 0
        assert Connect(own.servers.connect_url).seen("harm_remove-postgres") is None
        assert len(kafka_topics.seen_topics(own.servers.bootstrap, own.line.topics())) == len(own.line.topics())
        source.execute("INSERT INTO sales.things VALUES ('again', 1)")
        own.start()
        (record,) = own.until(TOPIC, b'{"id":"again"}')
        assert record.datum["op"] == "r", "offsets of the removed connector were kept"
