"""Changes become records in the order of their commits and with the schema of their time, even if Connect is killed."""

import uuid
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest

from connectors import apply
from connectors.steps import SetFullIdentity
from schemas.change import Op
from schemas.errors import BadRecord
from schemas.tables import Column, Source, Table
from schemas.types import Numeric, Text
from tests.support.capture_pipeline import (
    THINGS,
    THINGS_DDL,
    CapturePipeline,
    Connection,
    Declared,
    changes,
    is_waited_for,
    kill_connect,
    mark,
    transaction_id,
)
from tests.support.captured import Reading, landed, newest
from tests.support.eventually import eventually

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
PIPELINE = Declared(name="changes", ddl=THINGS_DDL + PARTED_DDL, tables=(THINGS, PARTED))


def delete_after_a_waiting_insert(own: CapturePipeline, key: str) -> None:
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


def test_an_insert_that_waited_for_a_delete_wins_over_it_whatever_their_lsns(
    own: CapturePipeline, source: Connection
) -> None:
    delete_after_a_waiting_insert(own, "waited")
    records = own.until(TOPIC, mark(source))
    _insert, delete, insert = [record for record in records if record.key == b'{"id":"waited"}']
    assert (delete.datum["op"], insert.datum["op"]) == ("d", "c")
    assert insert.datum["source"]["lsn"] < delete.datum["source"]["lsn"], "the case did not arise"
    assert newest(changes(records, "waited"))["waited",].row == ("waited", Decimal("2.0000"), None, None, None)


def test_a_kill_in_the_middle_of_interleaved_transactions_repeats_records_but_no_row_goes_back(
    own: CapturePipeline, source: Connection, stack_folder: Path
) -> None:
    size = 40_000
    with own.connect(autocommit=False) as long, own.connect(autocommit=False) as other:
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
        delete_after_a_waiting_insert(own, "kill-waited")
        before = len(own.records(TOPIC))
        long.commit()
        other.commit()
    with Reading(own.settings, own.pipeline.topic(TOPIC)) as reading:
        eventually(lambda: len(reading.catch_up()) > before + 2_000)
        sent = len(reading.found)
    kill_connect(stack_folder)
    records = own.until(TOPIC, mark(source))
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


def test_copied_rows_that_share_an_lsn_all_arrive_and_are_older_than_what_follows(
    own: CapturePipeline, source: Connection
) -> None:
    with source.cursor().copy("COPY sales.things (id, version) FROM STDIN") as copy:
        for each in range(500):
            copy.write_row((f"copy-{each}", 1))
    source.execute("UPDATE sales.things SET version = 2 WHERE id LIKE 'copy-%'")
    records = [record for record in own.until(TOPIC, mark(source)) if b'"copy-' in (record.key or b"")]
    created = [record.datum["source"]["lsn"] for record in records if record.datum["op"] == "c"]
    assert len(created) == 500 and len(set(created)) < 500, "the case did not arise"
    last = newest(
        [record.change(THINGS) for record in records if record.key in (b'{"id":"copy-0"}', b'{"id":"copy-9"}')]
    )
    assert {change.row[1] for change in last.values()} == {2}


def test_a_leaf_without_full_identity_makes_a_bad_record_that_names_the_cure_and_the_plan_sets_it(
    own: CapturePipeline, source: Connection
) -> None:
    big = "".join(str(uuid.uuid4()) for _ in range(4000))
    source.execute("INSERT INTO sales.parted VALUES ('toast', 1, %s)", [big])
    source.execute("UPDATE sales.parted SET version = 2 WHERE id = 'toast'")
    records = own.until("shop.sales.parted", mark(source, "parted"))
    assert [change.row for change in changes(records, "toast", PARTED)][-1] == ("toast", Decimal("2.0000"), big)

    source.execute("ALTER TABLE sales.parted_0 REPLICA IDENTITY DEFAULT")
    source.execute("UPDATE sales.parted SET version = 3 WHERE id = 'toast'")
    records = own.until("shop.sales.parted", mark(source, "parted"))
    *_, lacking = [record for record in records if record.key == b'{"id":"toast"}']
    with pytest.raises(BadRecord, match=r"note: .*REPLICA IDENTITY FULL .*#toast-placeholder"):
        lacking.change(PARTED)

    plan = apply.plan(own.pipeline, own.servers)
    assert plan.changes == (SetFullIdentity(relation="sales.parted_0"),)
    apply.apply(plan, own.servers)
    source.execute("UPDATE sales.parted SET version = 4 WHERE id = 'toast'")
    records = own.until("shop.sales.parted", mark(source, "parted"))
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
    own: CapturePipeline, source: Connection, column: str, value: str
) -> None:
    row = {"id": f"{column} {value}", "version": "1"} | {column: value}
    source.execute(
        f"INSERT INTO sales.things ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", [*row.values()]
    )
    records = own.until(TOPIC, mark(source))
    (record,) = [record for record in records if record.key == b'{"id":"%s"}' % row["id"].encode()]
    with pytest.raises(BadRecord, match=f"^{column}: "):
        record.change(THINGS)


def test_microseconds_and_the_ends_of_time_arrive_as_they_are(own: CapturePipeline, source: Connection) -> None:
    times = [
        "0001-01-01 00:00:00+00",
        "9999-12-31 23:59:59.999999+00",
        "2026-10-25 02:30:00.1+02",
        "1900-01-01 00:00+00",
    ]
    for index, at in enumerate(times):
        source.execute("INSERT INTO sales.things VALUES (%s, -12345.6789, %s, %s)", [f"time-{index}", at, at])
    records = own.until(TOPIC, mark(source))
    rows = source.execute(
        "SELECT id, version, at, day, note FROM sales.things WHERE id LIKE 'time-%' ORDER BY id"
    ).fetchall()
    assert [changes(records, f"time-{index}")[0].row for index in range(len(times))] == rows


def test_truncate_is_not_published(own: CapturePipeline, source: Connection) -> None:
    source.execute("INSERT INTO sales.parted VALUES ('kept', 1)")
    source.execute("TRUNCATE sales.parted")
    records = own.until("shop.sales.parted", mark(source, "parted"))
    assert {record.datum["op"] for record in records} <= {"c", "u", "d", "r"}
    assert [change.op for change in changes(records, "kept", PARTED)] == [Op.CREATE]


def test_columns_added_renamed_and_dropped_meanwhile_are_written_with_the_schema_that_was_then(
    own: CapturePipeline, source: Connection
) -> None:
    source.execute("INSERT INTO sales.things VALUES ('ddl-1', 1)")
    with source.transaction():
        source.execute("ALTER TABLE sales.things ADD COLUMN extra text")
        source.execute("INSERT INTO sales.things (id, version, extra) VALUES ('ddl-2', 2, 'x')")
    source.execute("ALTER TABLE sales.things RENAME COLUMN extra TO more")
    source.execute("INSERT INTO sales.things (id, version, more) VALUES ('ddl-3', 3, 'y')")
    source.execute("ALTER TABLE sales.things DROP COLUMN more")
    source.execute("UPDATE sales.things SET version = 4 WHERE id = 'ddl-3'")
    records = own.until(TOPIC, mark(source))
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
    records = own.until(TOPIC, mark(source))
    with pytest.raises(BadRecord, match=r"^note: the record lacks this field; is the migration ahead"):
        changes(records, "ddl-5")
