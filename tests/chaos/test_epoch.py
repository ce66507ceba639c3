"""Capture begun anew through the `headrace` command alone, word for word as docs/runbook.md says it."""

import re
from pathlib import Path

import psycopg
from confluent_kafka import Producer

from tests.chaos.line import Line
from tests.eventually import eventually

RUNBOOK = Path(__file__).parents[2] / "docs" / "runbook.md"
MIGRATOR = "HEADRACE_OLTP__MIGRATOR_PASSWORD"


def test_a_slot_that_is_lost_leaves_a_gap_that_the_runbook_closes(line: Line):
    line.run("load", "shop", "--orders", "40")
    with line.psql("shop", "migrator", MIGRATOR) as sales:
        assert line.verify()["equal"]
        drop_the_slot(line)
        gone, changed = sales.execute(
            "SELECT tenant_id, order_month::text, order_id FROM sales.order_lines JOIN sales.payments "
            "USING (tenant_id, order_month, order_id) GROUP BY 1, 2, 3 HAVING count(*) = 1 ORDER BY 3 LIMIT 2"
        ).fetchall()
        ((payment,),) = sales.execute(f"SELECT payment_id FROM sales.payments WHERE {of(gone)}").fetchall()
        with sales.transaction():
            for table in ("payments", "order_lines", "orders"):
                sales.execute(f"DELETE FROM sales.{table} WHERE {of(gone)}")
        sales.execute(f"UPDATE sales.orders SET status = 'in the gap' WHERE {of(changed)}")
        line.run("load", "shop", "--orders", "10", "--seed", "2")
        assert "#slot-missing" in line.run("connectors", "plan", expect=1)

        line.run("connectors", "remove")
        line.run("connectors", "apply")
        tables = line.verify(expect=1)["tables"]
        found = [said for table in tables.values() for said in table["different"]]
        assert all("unexpected in reporting" in said for said in found), found
        assert len(found) == 3, found
        assert all(gone[2] in said for said in found), found

        sales.execute(cure(gone, payment))
    assert line.verify()["equal"]


def test_topics_made_anew_under_a_higher_epoch_keep_the_dead_letters_and_win(line: Line):
    producer = Producer({"bootstrap.servers": line.settings()["HEADRACE_KAFKA__BOOTSTRAP"]})
    producer.produce("shop.sales.orders", key=b"{}", value=b"bad")
    assert producer.flush(30) == 0
    eventually(lambda: "shop.sales.orders" in line.run("dlq", "ls", "--json"))
    for name in ("enrich", "report"):
        worker = line.worker(name)
        worker.terminate()
        worker.wait(30)
    line.run("connectors", "remove", "--topics")
    with line.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting:
        reporting.execute(said("topic-replaced", r"`(DELETE FROM [^`]+)`").encode())
    line.run("up", HEADRACE_EPOCH="2")
    assert line.settings()["HEADRACE_EPOCH"] == "2"
    assert line.verify()["equal"]
    assert "shop.sales.orders" in line.run("dlq", "ls", "--json")


def test_an_epoch_never_goes_back(line: Line):
    assert "may only be raised" in line.run("up", expect=1, HEADRACE_EPOCH="1")
    assert line.settings()["HEADRACE_EPOCH"] == "2"


def drop_the_slot(line: Line) -> None:
    """As somebody would who doesn't know whose it is: its reader is cut off, and comes back too late."""
    with line.psql("shop", "cdc_reader", "HEADRACE_OLTP__CDC_READER_PASSWORD") as reader:

        def dropped() -> bool:
            reader.execute("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active")
            try:
                reader.execute("SELECT pg_drop_replication_slot('headrace')")
            except psycopg.errors.ObjectInUse:
                return False
            return True

        eventually(dropped)


def of(order: tuple[str, str, str]) -> str:
    return "(tenant_id, order_month, order_id) = ('{}', '{}', '{}')".format(*order)


def cure(order: tuple[str, str, str], payment: str) -> str:
    """The runbook's statements, for this order of one line and one payment."""
    tenant, month, name = order
    text = said("unexpected-rows", r"(      BEGIN;.*?COMMIT;)")
    for theirs, ours in {"tenant-004": tenant, "2026-09-01": month, "'o-1-1'": f"'{payment}'"}.items():
        text = text.replace(theirs, ours)
    return text.replace("'o-1'", f"'{name}'")


def said(entry: str, pattern: str) -> str:
    """What the runbook's entry says there."""
    page = RUNBOOK.read_text().split(f"\n## {entry}\n")[1].split("\n## ")[0]
    found = re.search(pattern, page, re.DOTALL)
    assert found, f"the runbook's entry {entry} no longer says {pattern}"
    return found[1]
