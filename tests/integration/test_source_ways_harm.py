"""Capture when Postgres rolls back to savepoints, spills transactions, attaches partitions and alters publications."""

import uuid
from decimal import Decimal

from connectors import apply
from schemas.tables import Column, Source, Table
from schemas.types import Date, Numeric, Text
from tests.support.capture_pipeline import THINGS, THINGS_DDL, CapturePipeline, Connection, Declared
from tests.support.captured import Record
from tests.support.eventually import eventually

THINGS_TOPIC, LEAVES_TOPIC = "shop.sales.things", "shop.sales.leaves"
LEAVES = Table(
    name="leaves",
    source=Source.POSTGRES,
    schema="sales",
    key=("day", "id"),
    columns=(
        Column(name="day", type=Date()),
        Column(name="id", type=Text(64)),
        Column(name="version", type=Numeric(19, 4)),
    ),
    partitions=1,
)
LEAVES_DDL = """
CREATE TABLE sales.leaves (
    day date NOT NULL, id text NOT NULL, version numeric(19,4) NOT NULL, PRIMARY KEY (day, id)
) PARTITION BY RANGE (day);
ALTER TABLE sales.leaves REPLICA IDENTITY FULL;
CREATE TABLE sales.leaves_1 PARTITION OF sales.leaves FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
ALTER TABLE sales.leaves_1 REPLICA IDENTITY FULL;
GRANT SELECT ON sales.leaves TO cdc_reader;
"""
# The least that Postgres takes: a transaction of a few hundred rows then goes through files on the source's disk.
SPILL_DDL = "ALTER DATABASE ways SET logical_decoding_work_mem = '64kB';"
PIPELINE = Declared(name="ways", ddl=SPILL_DDL + THINGS_DDL + LEAVES_DDL, tables=(THINGS, LEAVES))


def things(own: CapturePipeline, source: Connection) -> list[Record]:
    """All records of things, up to a row written now."""
    marker = f"marker-{uuid.uuid4()}"
    source.execute("INSERT INTO sales.things (id, version) VALUES (%s, 0)", [marker])
    return own.until(THINGS_TOPIC, b'{"id":"%s"}' % marker.encode())


def leaves(own: CapturePipeline, source: Connection) -> dict[str, Decimal]:
    """Each row of leaves as its last record tells it, up to a row written now."""
    marker = str(uuid.uuid4())
    source.execute("INSERT INTO sales.leaves VALUES ('2026-01-31', %s, 0)", [marker])
    found: dict[str, Decimal] = {}

    def marked() -> bool:
        rows = [record.change(LEAVES).row for record in own.records(LEAVES_TOPIC)]
        found.update({row[1]: row[2] for row in rows if row})
        return marker in found

    eventually(marked)
    return found


def test_what_was_rolled_back_to_a_savepoint_is_not_captured(own: CapturePipeline, source: Connection) -> None:
    with source.transaction():
        source.execute("INSERT INTO sales.things VALUES ('kept', 1)")
        with source.transaction(force_rollback=True):
            source.execute("INSERT INTO sales.things VALUES ('rolled back', 1)")
            source.execute("UPDATE sales.things SET version = 2 WHERE id = 'kept'")
    changes = [record.change(THINGS) for record in things(own, source)]
    assert [change.row[1] for change in changes if change.key == ("kept",)] == [1]
    assert not [change for change in changes if change.key == ("rolled back",)]


def test_a_transaction_that_spills_to_disk_is_captured_whole_and_in_order(
    own: CapturePipeline, source: Connection
) -> None:
    with source.transaction():
        source.execute("INSERT INTO sales.things SELECT 'spilled-' || n, 1 FROM generate_series(1, 5000) AS n")
        with source.transaction(force_rollback=True):
            source.execute("UPDATE sales.things SET version = 9 WHERE id LIKE 'spilled-%'")
        source.execute("UPDATE sales.things SET version = 2 WHERE id LIKE 'spilled-%'")
    versions: dict[str, list[Decimal]] = {}
    for record in things(own, source):
        change = record.change(THINGS)
        versions.setdefault(change.key[0], []).append(change.row[1])
    spilled = [each for key, each in versions.items() if key.startswith("spilled-")]
    assert spilled == [[1, 2]] * 5000
    told = "SELECT spill_txns > 0 FROM pg_stat_replication_slots WHERE slot_name = %s"
    eventually(lambda: source.execute(told, [own.pipeline.slot]).fetchall() == [(True,)])


def test_an_attached_partition_is_captured_from_then_on_and_a_detached_one_no_longer(
    own: CapturePipeline, source: Connection
) -> None:
    """The rows that it brings along or takes with it are in no log: `verify` names them."""
    source.execute("CREATE TABLE sales.leaves_2 (LIKE sales.leaves INCLUDING ALL)")
    source.execute("ALTER TABLE sales.leaves_2 REPLICA IDENTITY FULL")
    source.execute("INSERT INTO sales.leaves_2 VALUES ('2026-02-01', 'brought along', 1)")
    source.execute(
        "ALTER TABLE sales.leaves ATTACH PARTITION sales.leaves_2 FOR VALUES FROM ('2026-02-01') TO ('2026-03-01')"
    )
    source.execute("INSERT INTO sales.leaves VALUES ('2026-02-02', 'attached', 1)")
    found = leaves(own, source)
    assert found["attached"] == 1 and "brought along" not in found

    source.execute("UPDATE sales.leaves SET version = 2")
    found = leaves(own, source)
    assert (found["attached"], found["brought along"]) == (2, 2)

    source.execute("ALTER TABLE sales.leaves DETACH PARTITION sales.leaves_2")
    source.execute("UPDATE sales.leaves_2 SET version = 3")
    found = leaves(own, source)
    assert (found["attached"], found["brought along"]) == (2, 2)


def test_a_table_that_somebody_takes_out_of_the_publication_is_read_again_by_the_next_apply(
    own: CapturePipeline, source: Connection
) -> None:
    source.execute(f"ALTER PUBLICATION {own.pipeline.publication} DROP TABLE sales.leaves".encode())
    source.execute("INSERT INTO sales.leaves VALUES ('2026-01-02', 'in the gap', 1)")
    plan = apply.plan(own.pipeline, own.servers)
    assert any("sales.leaves" in step.describe() for step in plan.changes)
    apply.apply(plan, own.servers)
    assert leaves(own, source)["in the gap"] == 1
    assert apply.plan(own.pipeline, own.servers).changes == ()
