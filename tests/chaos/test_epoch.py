"""Capture begun anew through the `headrace` command alone, word for word as docs/runbook.md says it.

The line that it leaves is in a later generation than others expect, so it is gone at the end.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import orjson
import psycopg
import pytest
from confluent_kafka import Producer

from schemas.failpoints import FailPoint
from stack.folder import Folder
from stack.postgres import find_home
from tests.support.eventually import eventually
from tests.support.pipeline import Line

MIGRATOR = "HEADRACE_OLTP__MIGRATOR_PASSWORD"


@pytest.fixture(scope="module", autouse=True)
def gone(own_line: Line) -> Iterator[None]:
    yield
    own_line.run("down", "--wipe")


def test_a_slot_that_is_lost_leaves_a_gap_that_the_runbook_closes(line: Line):
    line.run("load", "shop", "--orders", "40")
    with line.psql("shop", "migrator", MIGRATOR) as sales:
        assert line.verify()["equal"]
        drop_the_slot(line)
        gone, changed = sales.execute(
            "SELECT tenant_id, order_month::text, order_id FROM sales.order_lines JOIN sales.payments "
            "USING (tenant_id, order_month, order_id) GROUP BY 1, 2, 3 HAVING count(*) = 1 ORDER BY 3 LIMIT 2"
        ).fetchall()
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

        line.run("verify", "--repair")
    assert line.verify()["equal"]


@pytest.mark.timeout(600)  # three starts of a line, and a rebuild
def test_an_older_copy_of_the_source_stops_capture_and_the_lost_future_goes(line: Line):
    line.run("load", "shop", "--orders", "30", "--seed", "3")
    line.verify()
    known = shown(line)
    line.run("down")
    data = find_home(Folder(line.stack)).data
    older = data.with_name("older")
    subprocess.run(["cp", "-a", data, older], check=True)
    line.run("up")  # a plain restart is no alarm
    assert [each["ended"] for each in epochs(line)] == [None]
    line.run("load", "shop", "--orders", "20", "--seed", "4")
    assert line.verify()["equal"]
    future = shown(line) - known
    assert len(future) == 20
    line.run("down")
    shutil.rmtree(data)
    older.rename(data)

    assert "source-restarted" in line.run("up", expect=1)
    assert "capture has read to" in epochs(line)[0]["ended"]
    assert "source-restarted" in eventually(lambda: unready(line))
    assert orjson.loads(line.run("status", "--json", expect=1))["connectors"]["headrace-postgres"]["state"] == "STOPPED"
    eventually(lambda: future <= shown(line))  # reporting was put back as well here, and Kafka has the future still
    line.run("load", "shop", "--orders", "10", "--seed", "5")
    assert "source-restarted" in line.run("connectors", "apply", expect=1)

    raising = ("epoch", "raise", "--reason", "restored")
    line.dies(FailPoint.CAPTURE_REMOVED, 1, *raising)
    line.run(*raising)
    assert [(each["number"], each["reason"]) for each in epochs(line)] == [(1, "capture begins"), (2, "restored")]
    assert known <= shown(line)
    assert not future & shown(line)
    assert line.verify()["equal"]
    assert "a history that the source has left" in line.run("replay", "--rollback", expect=1)
    eventually(lambda: unready(line, "watch-g2") is None)
    line.run("replay", "--drop-old")


def test_topics_made_anew_under_a_higher_epoch_keep_the_dead_letters_and_win(line: Line):
    producer = Producer({"bootstrap.servers": line.settings()["HEADRACE_KAFKA__BOOTSTRAP"]})
    producer.produce("shop.sales.orders", key=b"{}", value=b"bad")
    assert producer.flush(30) == 0
    eventually(lambda: "shop.sales.orders" in line.run("dlq", "ls", "--json"))
    line.run("connectors", "remove", "--topics")
    line.run("epoch", "raise", "--reason", "topics replaced")
    line.run("replay", "--drop-old")
    assert line.verify()["equal"]
    assert "shop.sales.orders" in line.run("dlq", "ls", "--json")


def epochs(line: Line) -> list[dict[str, Any]]:
    out = line.run("epoch", "ls", "--json")
    return orjson.loads(out[out.index("[") :])


def shown(line: Line) -> set[tuple[Any, ...]]:
    """The orders that a reader sees."""
    with line.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD") as reader:
        return set(reader.execute("SELECT tenant_id, order_month, order_id FROM report.orders").fetchall())


def unready(line: Line, watch: str = "watch") -> str | None:
    """Why a generation's watch is not ready; None when it is."""
    (port,) = re.findall(r'"port": (\d+)', (line.stack / "logs" / f"{watch}.log").read_text())[-1:]
    answer = httpx.get(f"http://127.0.0.1:{port}/readyz")
    return None if answer.is_success else answer.text


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
