"""The whole pipeline through the `headrace` command alone: stopped, killed, changed by hand and extended."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from schemas.tables import TABLES
from tests.support.eventually import eventually
from tests.support.pipeline import COMMAND_S, OwnPipeline

ROOT = Path(__file__).parents[2]
WORKERS = ("enrich", "report")


@pytest.fixture(scope="module")
def pipeline(own_pipeline: OwnPipeline) -> OwnPipeline:
    """Start the pipeline twice: the first start is refused, and the second continues with what that has left."""
    own_pipeline.run("up", expect=1, HEADRACE_SINK__BATCH="0")
    own_pipeline.run("up")
    return own_pipeline


def test_a_second_up_is_harmless(pipeline: OwnPipeline):
    before = {name: pipeline.worker(name).pid for name in ("postgres", "kafka", "connect", "enrich", "report")}
    pipeline.run("up")
    assert {name: pipeline.worker(name).pid for name in before} == before


def test_an_up_that_fails_leaves_what_ran_before(pipeline: OwnPipeline):
    before = {name: pipeline.worker(name).pid for name in (*WORKERS, "kafka", "postgres")}
    said = pipeline.run("up", expect=1, HEADRACE_SINK__BATCH="0")
    assert "HEADRACE_SINK__BATCH" in said
    assert {name: pipeline.worker(name).pid for name in before if pipeline.worker(name).is_running()} == before
    assert "down" in said
    pipeline.worker("report").kill()
    said = pipeline.run("status", expect=1)
    assert "worker" in said and "ended" in said
    pipeline.run("up")
    pipeline.run("status")


def test_orders_traded_before_a_down_are_equal_after_the_next_up(pipeline: OwnPipeline):
    pipeline.run("load", "shop", "--orders", "50", "--seed", "3")
    assert pipeline.verify()["equal"]
    pipeline.run("down")
    pipeline.run("up")
    assert pipeline.verify()["equal"]
    pipeline.run("load", "shop", "--orders", "80", "--seed", "3")
    assert pipeline.verify()["equal"]


def test_killed_workers_lose_nothing(pipeline: OwnPipeline):
    before, letters, records = pipeline.verify()["tables"], pipeline.run("dlq", "ls"), captured(pipeline)
    shop = pipeline.start("load", "shop", "--orders", "1500", "--seed", "4")
    eventually(lambda: captured(pipeline) > records + 1_000)
    pipeline.worker("report").send_signal(signal.SIGKILL)
    pipeline.worker("enrich").send_signal(signal.SIGKILL)
    pipeline.run("up")
    eventually(lambda: captured(pipeline) > records + 4_000)
    pipeline.worker("enrich").send_signal(signal.SIGKILL)
    pipeline.worker("report").send_signal(signal.SIGKILL)
    out, err = shop.communicate(timeout=COMMAND_S)
    assert shop.returncode == 0, out + err
    pipeline.run("up")
    result = pipeline.verify()
    assert result["equal"]
    added = {name: table["source"] - before[name]["source"] for name, table in result["tables"].items()}
    assert added["orders"] == 1500
    assert added["events"] > 5_000
    assert pipeline.run("dlq", "ls") == letters


def captured(pipeline: OwnPipeline) -> int:
    """Return how many records are in the captured topics."""
    topics = {topic for table in TABLES for topic in table.captured_topics}
    return sum(sum(pipeline.ends(topic).values()) for topic in topics)


def test_while_the_shop_trades_verify_finds_what_was_bent_and_nothing_else_and_repairs_it(pipeline: OwnPipeline):
    pipeline.run("load", "shop", "--orders", "50", "--seed", "2")
    assert pipeline.verify()["equal"]
    with (
        pipeline.busy("load", "shop", "--orders", "20000", "--seed", "5", "--rate", "5"),
        pipeline.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting,
    ):
        bent = bend(reporting)
        found = different(pipeline.run("verify", "--json", "--deadline", "300", expect=1))
        assert found.keys() == bent.keys()
        assert all(said in found[key]["said"] for key, said in bent.items()), found
        (changed,) = [each for key, each in found.items() if "status is" in bent[key]]
        assert changed["fields"] == {"status": ["delivered", "bent"]}
        assert changed["record"]["topic"] == "shop.sales.orders"

        assert different(pipeline.run("verify", "--json", "--repair", "--deadline", "300")) == {}
        kept = reporting.execute("SELECT table_name, old_row::json ->> 'line_no' FROM headrace.repair").fetchall()
    assert sorted(kept) == [("events", None), ("order_lines", "99")]


def test_documents_that_were_bent_are_repaired_by_records_that_stay_in_their_topic(pipeline: OwnPipeline):
    pipeline.run("load", "shop", "--orders", "20", "--seed", "6")
    assert pipeline.verify()["equal"]
    with pipeline.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting:
        ((bent,),) = reporting.execute(
            "UPDATE reporting_g1.products SET name = 'Vase of Babel' WHERE (tenant_id, sku) = "
            "(SELECT tenant_id, sku FROM reporting_g1.products ORDER BY tenant_id, sku LIMIT 1) RETURNING sku"
        ).fetchall()
        reporting.execute(
            "CREATE TEMP TABLE copied AS SELECT * FROM reporting_g1.products WHERE sku = %s LIMIT 1", [bent]
        )
        reporting.execute("UPDATE copied SET sku = 'of-nobody'")
        reporting.execute("INSERT INTO reporting_g1.products SELECT * FROM copied")
    ends = pipeline.ends("shop.catalog.products")
    rows = loaded(pipeline.run("verify", "--json", expect=1))["tables"]["products"]["rows"]
    assert {row["key"]["sku"] for row in rows} == {bent, "of-nobody"}
    assert different(pipeline.run("verify", "--json", "--repair")) == {}
    assert pipeline.verify()["equal"]
    assert sum(pipeline.ends("shop.catalog.products").values()) == sum(ends.values()) + 2
    assert "0 keys" in pipeline.run("verify", "--topics", "--table", "products")


def test_late_records_that_would_win_a_rebuild_are_repaired_in_their_topics(pipeline: OwnPipeline):
    topics = ("shop.sales.orders", "shop.sales.payments", "shop.catalog.products")
    since = {topic: pipeline.ends(topic) for topic in topics}
    pipeline.run("load", "shop", "--orders", "50", "--seed", "7")
    assert pipeline.verify()["equal"]
    late = {topic: pipeline.sent_again(topic, since[topic]) for topic in topics}
    assert pipeline.verify()["equal"]  # they have landed, and lost
    found = loaded(pipeline.run("verify", "--topics", "--json", expect=1))["overtaken"]
    assert len(found) == len(late), (found, late)
    assert "0 keys" in pipeline.run("verify", "--topics", "--repair")
    assert "0 keys" in pipeline.run("verify", "--topics")
    assert pipeline.verify()["equal"]


def test_a_table_that_is_followed_is_noted_as_verified_up_to_a_moment_that_goes_on(pipeline: OwnPipeline):
    with (
        pipeline.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting,
        pipeline.busy("verify", "--follow", "--max-load", "1", "--table", "orders"),
    ):
        query = "SELECT verified_through FROM reporting_g1.freshness WHERE table_name = 'orders'"
        first = eventually(lambda: [at for (at,) in reporting.execute(query).fetchall() if at])
        eventually(lambda: reporting.execute(query).fetchall() > [(first[0],)])


def bend(reporting: psycopg.Connection[Any]) -> dict[str, str]:
    """Change a cell, delete a row, add a row, shift an instant by a microsecond, and change an enriched cell.

    Return the text that `verify` must print for each key. All belong to delivered orders, which no longer change."""
    order, lost, copied, named = (
        each
        for (each,) in reporting.execute(
            "SELECT order_id FROM reporting_g1.orders JOIN reporting_g1.order_lines USING (order_id) "
            "WHERE status = 'delivered' GROUP BY order_id ORDER BY order_id LIMIT 4"
        ).fetchall()
    )
    reporting.execute("UPDATE reporting_g1.orders SET status = 'bent' WHERE order_id = %s", [order])
    reporting.execute("DELETE FROM reporting_g1.orders WHERE order_id = %s", [lost])
    reporting.execute(
        "CREATE TEMP TABLE extra AS SELECT * FROM reporting_g1.order_lines WHERE order_id = %s LIMIT 1", [copied]
    )
    reporting.execute("UPDATE extra SET line_no = 99")
    reporting.execute("INSERT INTO reporting_g1.order_lines SELECT * FROM extra")
    reporting.execute(
        "UPDATE reporting_g1.order_lines SET product_name = 'Vase of Babel' WHERE order_id = %s AND line_no = 1",
        [named],
    )
    ((event,),) = reporting.execute(
        "UPDATE reporting_g1.events SET occurred_at = occurred_at + interval '1 microsecond' WHERE event_id = "
        "(SELECT min(event_id) FROM reporting_g1.events WHERE aggregate_id = %s) RETURNING event_id",
        [order],
    ).fetchall()
    return {
        order: "status is delivered in the source, bent in reporting",
        lost: "missing in reporting",
        copied: "line_no=99): unexpected in reporting",
        named: "Vase of Babel in reporting",
        event: "occurred_at is",
    }


def different(said: str) -> dict[str, dict[str, Any]]:
    """Return the differences in the output of `verify --json`, by order or event."""
    tables = loaded(said)["tables"].values()
    assert all(table["unsettled"] == [] for table in tables), tables
    rows = [
        row | {"said": text} for table in tables for row, text in zip(table["rows"], table["different"], strict=True)
    ]
    return {row["key"].get("order_id") or row["key"].get("event_id"): row for row in rows}


def loaded(said: str) -> Any:
    """Return the JSON document in a command's output; stderr follows it."""
    return json.JSONDecoder().raw_decode(said, said.index("{"))[0]


def test_a_table_of_your_own_takes_what_the_page_says(pipeline: OwnPipeline):
    files = dict(blocks((ROOT / "docs" / "your-tables.md").read_text()))
    entry = files.pop("schemas/tables.py")
    for name, text in files.items():
        (pipeline.folder / name).write_text(text)
    tables = pipeline.folder / "schemas" / "tables.py"
    text = (
        tables.read_text()
        .replace("TABLES: tuple", f"{entry}\n\nTABLES: tuple")
        .replace("PRICE_HISTORY)", "PRICE_HISTORY, REFUNDS)")
    )
    tables.write_text(text)

    pipeline.run("migrate")
    refund = "INSERT INTO sales.refunds VALUES ('t', %s, 'o', 12.3456, %s, '2026-02-28T23:59:59.999999Z')"
    with pipeline.psql("shop", "app_writer", "HEADRACE_OLTP__APP_WRITER_PASSWORD") as sales:
        sales.execute(refund, ["before", "was there before it was captured"])
        assert "sales.refunds" in pipeline.run("connectors", "plan")
        pipeline.run("connectors", "apply")
        assert "0 change(s)" in pipeline.run("connectors", "plan")
        pipeline.worker("report").terminate()
        eventually(lambda: not running(pipeline, "report"))
        pipeline.run("up")
        sales.execute(refund, ["after", None])
    result = pipeline.verify()
    assert result["equal"]
    assert (result["tables"]["refunds"]["source"], result["tables"]["refunds"]["report"]) == (2, 2)
    with pipeline.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD") as reporting:
        seen = reporting.execute(
            "SELECT refund_id, amount, refunded_at::text FROM report.refunds ORDER BY 1"
        ).fetchall()
    assert [row[0] for row in seen] == ["after", "before"]


def test_capture_can_be_removed_slot_and_publication_included(pipeline: OwnPipeline):
    pipeline.run("connectors", "remove")
    with pipeline.psql("shop", "migrator", "HEADRACE_OLTP__MIGRATOR_PASSWORD") as sales:
        assert sales.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
        assert sales.execute("SELECT pubname FROM pg_publication").fetchall() == []


def running(pipeline: OwnPipeline, name: str) -> bool:
    try:
        return pipeline.worker(name).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield the files on a documentation page: fenced blocks whose first line is a comment with a path."""
    for body in re.findall(r"```\w+\n(.*?)```", page, re.DOTALL):
        first, _, rest = body.partition("\n")
        path = re.fullmatch(r"(?:--|#) ([\w/]+\.\w+)", first)
        if path:
            yield path[1], rest
