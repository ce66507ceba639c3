"""The first snapshot, and that of a table declared later: late commits, a stalled read, a killed Connect."""

import json
import threading
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from connectors import apply
from connectors.connect import Connect
from connectors.pipeline import Pipeline
from operations.settings import Settings
from schemas.change import Change
from schemas.errors import Unavailable
from schemas.tables import Column, Source, Table
from schemas.types import Numeric, Text
from tests.support.capture_pipeline import (
    THINGS,
    THINGS_DDL,
    CapturePipeline,
    capture_pipeline,
    changes,
    is_waited_for,
    kill_connect,
    mark,
    transaction_id,
)
from tests.support.captured import Reading, landed, newest
from tests.support.eventually import eventually

TOPIC = "shop.sales.things"
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


def test_a_transaction_older_than_the_snapshot_that_commits_after_it_wins_over_the_snapshot_read(
    settings: Settings, stack_folder: Path
) -> None:
    """The slot waits for `first`, then for `second`; what begins meanwhile is in the log below the snapshot's LSN."""
    with capture_pipeline(settings, stack_folder, "harm_snapshot", THINGS_DDL, THINGS) as own, own.connect() as watch:
        watch.execute("INSERT INTO sales.things VALUES ('k', 0)")
        with own.connect(autocommit=False) as first, own.connect(autocommit=False) as second:
            with own.connect(autocommit=False) as older:
                waited_for = transaction_id(first)
                beats = apply.apply(apply.plan(own.pipeline, own.servers), own.servers)
                eventually(lambda: is_waited_for(watch, waited_for))
                waited_for = transaction_id(second)
                first.commit()
                eventually(lambda: is_waited_for(watch, waited_for))
                older.execute("UPDATE sales.things SET version = 1 WHERE id = 'k'")
                second.commit()
                eventually(lambda: own.records(TOPIC))
                older.commit()
            apply.wait_ready(own.pipeline, own.servers, beats)
        records = own.until(TOPIC, mark(watch))
    read, update = [record for record in records if record.key == b'{"id":"k"}']
    assert (read.datum["op"], update.datum["op"]) == ("r", "u")
    assert update.datum["source"]["lsn"] < read.datum["source"]["lsn"], "the case did not arise"
    assert newest(changes(records, "k"))["k",].row == ("k", Decimal("1.0000"), None, None, None)


def test_the_first_transaction_behind_the_snapshot_of_a_capture_applied_again_is_newer_than_all_before(
    settings: Settings, stack_folder: Path
) -> None:
    """Debezium knows no earlier commit then, while the landed row keeps the place in the log that it had before."""
    with capture_pipeline(settings, stack_folder, "harm_again", THINGS_DDL, THINGS) as own, own.connect() as source:
        source.execute("INSERT INTO sales.things SELECT 'other-' || i, 0 FROM generate_series(1, 20000) AS i")
        source.execute("INSERT INTO sales.things VALUES ('k', 1)")
        own.start()
        own.until(TOPIC, mark(source))
        source.execute("UPDATE sales.things SET version = 2 WHERE id = 'k'")
        own.until(TOPIC, mark(source))
        apply.remove(own.pipeline, own.servers)
        source.execute("UPDATE sales.things SET version = 3 WHERE id = 'k'")
        beats = apply.apply(apply.plan(own.pipeline, own.servers), own.servers)
        begun = "SELECT FROM pg_replication_slots WHERE slot_name = 'harm_again' AND confirmed_flush_lsn IS NOT NULL"
        eventually(lambda: source.execute(begun).rowcount)
        source.execute("UPDATE sales.things SET version = 4 WHERE id = 'k'")
        apply.wait_ready(own.pipeline, own.servers, beats)
        records = [record for record in own.until(TOPIC, mark(source)) if record.key == b'{"id":"k"}']
        row = source.execute("SELECT * FROM sales.things WHERE id = 'k'").fetchone()
    assert [record.datum["op"] for record in records] == ["r", "u", "r", "u"]
    before, first = (json.loads(records[each].datum["source"]["sequence"]) for each in (1, 3))
    assert before[0] is not None and first[0] is None, "the case did not arise"
    assert newest(changes(records, "k"))["k",].row == row


def test_a_first_snapshot_may_take_its_time_but_not_stand_still(settings: Settings, stack_folder: Path) -> None:
    wares = replace(REFUNDS, name="wares")
    ddl = THINGS_DDL + REFUNDS_DDL.replace("refunds", "wares")
    with capture_pipeline(settings, stack_folder, "harm_still", ddl, THINGS, wares) as own, own.connect() as source:
        source.execute("INSERT INTO sales.things SELECT 'k' || i, 0 FROM generate_series(1, 30000) AS i")
        beats = apply.apply(apply.plan(own.pipeline, own.servers), own.servers)
        said: list[str] = []
        with own.connect(autocommit=False) as blocker:
            with Reading(settings, own.pipeline.topic(TOPIC)) as reading:
                eventually(reading.catch_up)
            blocker.execute("LOCK TABLE sales.wares")  # it is read after the things
            with pytest.raises(Unavailable, match=r"^capture does not stream: .*; nothing has moved for 4 s$"):
                apply.wait_ready(own.pipeline, own.servers, beats, deadline_s=4, on_wait=said.append)
            assert Connect(own.servers.connect_url).snapshotting(own.pipeline.connector(Source.POSTGRES))
        apply.wait_ready(own.pipeline, own.servers, beats)
    assert said and all(line.startswith("the first snapshot is being read; ") for line in said)


def test_a_kill_in_the_middle_of_the_first_snapshot_loses_nothing_that_is_committed_meanwhile(
    settings: Settings, stack_folder: Path
) -> None:
    size, seen = 30_000, 2_000
    with capture_pipeline(settings, stack_folder, "harm_first", THINGS_DDL, THINGS) as own, own.connect() as source:
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
            apply.apply(apply.plan(own.pipeline, own.servers), own.servers)
            with Reading(settings, own.pipeline.topic(TOPIC)) as reading:
                eventually(lambda: len(reading.catch_up()) > seen)
                assert len(reading.found) < size, "the kill came after the snapshot; make it bigger"
            kill_connect(stack_folder)
            apply.wait_ready(own.pipeline, own.servers, {})
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


def test_a_table_declared_later_is_captured_with_the_rows_it_already_had(
    settings: Settings, stack_folder: Path
) -> None:
    with capture_pipeline(settings, stack_folder, "harm_refunds", THINGS_DDL, THINGS) as own, own.connect() as source:
        own.start()
        source.execute("INSERT INTO sales.things VALUES ('before', 1)")
        source.execute(REFUNDS_DDL)
        source.execute("INSERT INTO sales.refunds SELECT 'old-' || i, i FROM generate_series(1, 50) AS i")
        more = CapturePipeline(
            settings=settings,
            pipeline=Pipeline(
                name="harm_refunds", prefix="harm_refunds", database="harm_refunds", tables=(THINGS, REFUNDS)
            ),
            servers=own.servers,
        )
        plan = apply.plan(more.pipeline, more.servers)
        said = "\n".join(plan.describe())
        assert "topic harm_refunds.sales.refunds: create with 1 partition(s)" in said
        assert "connector harm_refunds-postgres: update table.include.list" in said
        assert "publication harm_refunds: add sales.refunds; read the rows that sales.refunds already had" in said
        beats = apply.apply(plan, more.servers)
        source.execute("INSERT INTO sales.refunds VALUES ('new', 1)")
        source.execute("UPDATE sales.refunds SET amount = 77 WHERE id = 'old-7'")
        source.execute("DELETE FROM sales.refunds WHERE id = 'old-8'")
        apply.wait_ready(more.pipeline, more.servers, beats)
        rows = dict(source.execute("SELECT id, amount FROM sales.refunds").fetchall())

        def complete() -> bool:
            log = [record.change(REFUNDS) for record in more.records("shop.sales.refunds")]
            last: dict[Any, Any] = {}
            for key in {change.key for change in log}:
                *_, (last[key], _) = landed(change for change in log if change.key == key)
            return {key[0]: change.row[1] for key, change in last.items() if change.row} == rows

        eventually(complete)
        assert apply.plan(more.pipeline, more.servers).changes == ()

        plan = apply.plan(own.pipeline, own.servers)
        assert "publication harm_refunds: drop sales.refunds" in plan.describe()
        apply.apply(plan, own.servers)
        assert apply.plan(own.pipeline, own.servers).changes == ()
