"""Capture started again through the `headrace` command alone, word for word as docs/runbook.md tells."""

import re
import shutil
import subprocess
from typing import Any

import httpx
import orjson
import psycopg
from confluent_kafka import Producer

from schemas.failpoints import FailPoint
from stack.folder import Folder
from stack.postgres import find_home
from tests.support.eventually import eventually
from tests.support.pipeline import OwnPipeline

MIGRATOR = "HEADRACE_OLTP__MIGRATOR_PASSWORD"


def test_a_slot_that_is_lost_leaves_a_gap_that_the_runbook_closes(pipeline: OwnPipeline):
    pipeline.run("load", "shop", "--orders", "40")
    with pipeline.psql("shop", "migrator", MIGRATOR) as sales:
        assert pipeline.verify()["equal"]
        drop_the_slot(pipeline)
        gone, changed = sales.execute(
            "SELECT tenant_id, order_month::text, order_id FROM sales.order_lines JOIN sales.payments "
            "USING (tenant_id, order_month, order_id) GROUP BY 1, 2, 3 HAVING count(*) = 1 ORDER BY 3 LIMIT 2"
        ).fetchall()
        with sales.transaction():
            for table in ("payments", "order_lines", "orders"):
                sales.execute(f"DELETE FROM sales.{table} WHERE {of(gone)}")
        sales.execute(f"UPDATE sales.orders SET status = 'in the gap' WHERE {of(changed)}")
        pipeline.run("load", "shop", "--orders", "10", "--seed", "2")
        assert "#slot-missing" in pipeline.run("connectors", "plan", expect=1)

        pipeline.run("connectors", "remove")
        pipeline.run("connectors", "apply")
        tables = pipeline.verify(expect=1)["tables"]
        found = [said for table in tables.values() for said in table["different"]]
        assert all("unexpected in reporting" in said for said in found), found
        assert len(found) == 3, found
        assert all(gone[2] in said for said in found), found

        pipeline.run("verify", "--repair")
    assert pipeline.verify()["equal"]


def test_an_older_copy_of_the_source_stops_capture_and_the_lost_future_goes(pipeline: OwnPipeline):
    pipeline.run("load", "shop", "--orders", "30", "--seed", "3")
    pipeline.verify()
    known = shown(pipeline)
    pipeline.run("down")
    data = find_home(Folder(pipeline.stack)).data
    older = data.with_name("older")
    subprocess.run(["cp", "-a", data, older], check=True)
    pipeline.run("up")  # a plain restart is no alarm
    assert [each["ended"] for each in epochs(pipeline)] == [None]
    pipeline.run("load", "shop", "--orders", "20", "--seed", "4")
    assert pipeline.verify()["equal"]
    future = shown(pipeline) - known
    assert len(future) == 20
    pipeline.run("down")
    shutil.rmtree(data)
    older.rename(data)

    assert "source-restarted" in pipeline.run("up", expect=1)
    assert "capture has read to" in epochs(pipeline)[0]["ended"]
    assert "source-restarted" in eventually(lambda: unready(pipeline))
    assert (
        orjson.loads(pipeline.run("status", "--json", expect=1))["connectors"]["headrace-postgres"]["state"]
        == "STOPPED"
    )
    eventually(lambda: future <= shown(pipeline))  # reporting was put back as well here, and Kafka has the future still
    pipeline.run("load", "shop", "--orders", "10", "--seed", "5")
    assert "source-restarted" in pipeline.run("connectors", "apply", expect=1)

    raising = ("epoch", "raise", "--reason", "restored")
    pipeline.dies(FailPoint.CAPTURE_REMOVED, 1, *raising)
    pipeline.run(*raising)
    assert [(each["number"], each["reason"]) for each in epochs(pipeline)] == [(1, "capture begins"), (2, "restored")]
    assert known <= shown(pipeline)
    assert not future & shown(pipeline)
    assert pipeline.verify()["equal"]
    assert "a history that the source has left" in pipeline.run("replay", "--rollback", expect=1)
    eventually(lambda: unready(pipeline, "watch-g2") is None)
    pipeline.run("replay", "--drop-old")


def test_topics_made_anew_under_a_higher_epoch_keep_the_dead_letters_and_win(pipeline: OwnPipeline):
    producer = Producer({"bootstrap.servers": pipeline.settings()["HEADRACE_KAFKA__BOOTSTRAP"]})
    producer.produce("shop.sales.orders", key=b"{}", value=b"bad")
    assert producer.flush(30) == 0
    eventually(lambda: "shop.sales.orders" in pipeline.run("dlq", "ls", "--json"), poll_s=1)
    pipeline.run("connectors", "remove", "--topics")
    pipeline.run("epoch", "raise", "--reason", "topics replaced")
    pipeline.run("replay", "--drop-old")
    assert pipeline.verify()["equal"]
    assert "shop.sales.orders" in pipeline.run("dlq", "ls", "--json")


def epochs(pipeline: OwnPipeline) -> list[dict[str, Any]]:
    out = pipeline.run("epoch", "ls", "--json")
    return orjson.loads(out[out.index("[") :])


def shown(pipeline: OwnPipeline) -> set[tuple[Any, ...]]:
    """Return the orders that a reader sees."""
    with pipeline.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD") as reader:
        return set(reader.execute("SELECT tenant_id, order_month, order_id FROM report.orders").fetchall())


def unready(pipeline: OwnPipeline, watch: str = "watch") -> str | None:
    """Return the reason why a generation's watch is not ready; None when it is."""
    (port,) = re.findall(r'"port": (\d+)', (pipeline.stack / "logs" / f"{watch}.log").read_text())[-1:]
    answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
    return None if answer.is_success else answer.text


def drop_the_slot(pipeline: OwnPipeline) -> None:
    """Drop the slot as a database administrator may: its reader is disconnected, and reconnects too late."""
    with pipeline.psql("shop", "cdc_reader", "HEADRACE_OLTP__CDC_READER_PASSWORD") as reader:

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
