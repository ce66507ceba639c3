"""The whole line through the `headrace` command alone, as its users have it: stopped, killed, bent and extended."""

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg

from tests.support.eventually import eventually
from tests.support.pipeline import COMMAND_S, Line

ROOT = Path(__file__).parents[2]
WORKERS = ("enrich", "report")


def test_a_second_up_is_harmless(line: Line):
    before = {name: line.worker(name).pid for name in ("postgres", "kafka", "connect", "enrich", "report")}
    line.run("up")
    assert {name: line.worker(name).pid for name in before} == before


def test_an_up_that_fails_leaves_what_ran_before(line: Line):
    before = {name: line.worker(name).pid for name in (*WORKERS, "kafka", "postgres")}
    said = line.run("up", expect=1, HEADRACE_SINK__BATCH="0")
    assert "HEADRACE_SINK__BATCH" in said
    assert {name: line.worker(name).pid for name in before if line.worker(name).is_running()} == before
    assert "down" in said
    line.worker("report").kill()
    said = line.run("status", expect=1)
    assert "worker" in said and "ended" in said
    line.run("up")
    line.run("status")


def test_orders_traded_before_a_down_are_equal_after_the_next_up(line: Line):
    line.run("load", "shop", "--orders", "50", "--seed", "3")
    assert line.verify()["equal"]
    line.run("down")
    line.run("up")
    assert line.verify()["equal"]
    line.run("load", "shop", "--orders", "80", "--seed", "3")
    assert line.verify()["equal"]


def test_killed_workers_lose_nothing(line: Line):
    before, letters, records = line.verify()["tables"], line.run("dlq", "ls"), captured(line)
    shop = line.start("load", "shop", "--orders", "1500", "--seed", "4")
    eventually(lambda: captured(line) > records + 1_000, 60)
    line.worker("report").send_signal(signal.SIGKILL)
    line.worker("enrich").send_signal(signal.SIGKILL)
    line.run("up")
    eventually(lambda: captured(line) > records + 4_000, 90)
    line.worker("enrich").send_signal(signal.SIGKILL)
    line.worker("report").send_signal(signal.SIGKILL)
    out, err = shop.communicate(timeout=COMMAND_S)
    assert shop.returncode == 0, out + err
    line.run("up")
    result = line.verify()
    assert result["equal"]
    added = {name: table["source"] - before[name]["source"] for name, table in result["tables"].items()}
    assert added["orders"] == 1500
    assert added["events"] > 5_000
    assert line.run("dlq", "ls") == letters


def captured(line: Line) -> int:
    said, _ = line.start("status", "--json").communicate(timeout=COMMAND_S)  # a busy server may not answer now
    stages = orjson.loads(said)["stages"] or []
    return next((stage["records"] for stage in stages if stage["name"] == "captured"), 0)


def test_while_the_shop_trades_verify_finds_what_was_bent_and_nothing_else_and_repairs_it(line: Line):
    line.run("load", "shop", "--orders", "50", "--seed", "2")
    assert line.verify()["equal"]
    with (
        line.busy("load", "shop", "--orders", "20000", "--seed", "5", "--rate", "5"),
        line.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting,
    ):
        bent = bend(reporting)
        found = different(line.run("verify", "--json", "--deadline", "100", expect=1))
        assert found.keys() == bent.keys()
        assert all(said in found[key]["said"] for key, said in bent.items()), found
        (changed,) = [each for key, each in found.items() if "status is" in bent[key]]
        assert changed["fields"] == {"status": ["delivered", "bent"]}
        assert changed["record"]["topic"] == "shop.sales.orders"

        assert different(line.run("verify", "--json", "--repair", "--deadline", "100")) == {}
        kept = reporting.execute("SELECT table_name, old_row::json ->> 'line_no' FROM headrace.repair").fetchall()
    assert sorted(kept) == [("events", None), ("order_lines", "99")]


def test_documents_that_were_bent_are_repaired_by_records_that_stay_in_their_topic(line: Line):
    line.run("load", "shop", "--orders", "20", "--seed", "6")
    assert line.verify()["equal"]
    with line.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting:
        ((bent,),) = reporting.execute(
            "UPDATE reporting_g1.products SET name = 'Vase of Babel' WHERE (tenant_id, sku) = "
            "(SELECT tenant_id, sku FROM reporting_g1.products ORDER BY tenant_id, sku LIMIT 1) RETURNING sku"
        ).fetchall()
        reporting.execute(
            "CREATE TEMP TABLE copied AS SELECT * FROM reporting_g1.products WHERE sku = %s LIMIT 1", [bent]
        )
        reporting.execute("UPDATE copied SET sku = 'of-nobody'")
        reporting.execute("INSERT INTO reporting_g1.products SELECT * FROM copied")
    ends = line.ends("shop.catalog.products")
    rows = loaded(line.run("verify", "--json", expect=1))["tables"]["products"]["rows"]
    assert {row["key"]["sku"] for row in rows} == {bent, "of-nobody"}
    assert different(line.run("verify", "--json", "--repair")) == {}
    assert line.verify()["equal"]
    assert sum(line.ends("shop.catalog.products").values()) == sum(ends.values()) + 2
    assert "0 keys" in line.run("verify", "--topics", "--table", "products")


def test_late_records_that_would_win_a_rebuild_are_repaired_in_their_topics(line: Line):
    topics = ("shop.sales.orders", "shop.sales.payments", "shop.catalog.products")
    since = {topic: line.ends(topic) for topic in topics}
    line.run("load", "shop", "--orders", "50", "--seed", "7")
    assert line.verify()["equal"]
    late = {topic: line.sent_again(topic, since[topic]) for topic in topics}
    assert line.verify()["equal"]  # they have landed, and lost
    found = loaded(line.run("verify", "--topics", "--json", expect=1))["overtaken"]
    assert len(found) == len(late), (found, late)
    assert "0 keys" in line.run("verify", "--topics", "--repair")
    assert "0 keys" in line.run("verify", "--topics")
    assert line.verify()["equal"]


def test_a_table_that_is_followed_is_noted_as_verified_up_to_a_moment_that_goes_on(line: Line):
    with (
        line.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting,
        line.busy("verify", "--follow", "--max-load", "1", "--table", "orders"),
    ):
        query = "SELECT verified_through FROM reporting_g1.freshness WHERE table_name = 'orders'"
        first = eventually(lambda: [at for (at,) in reporting.execute(query).fetchall() if at], 60)
        eventually(lambda: reporting.execute(query).fetchall() > [(first[0],)], 60)


def bend(reporting: psycopg.Connection[Any]) -> dict[str, str]:
    """A cell changed, a row lost, a row added, an instant shifted by a microsecond, and an enriched cell changed: key →
    what is said of it. Of orders that were delivered, which nobody touches any more."""
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
    """What `verify --json` calls different, by the order or event."""
    tables = loaded(said)["tables"].values()
    assert all(table["unsettled"] == [] for table in tables), tables
    rows = [
        row | {"said": text} for table in tables for row, text in zip(table["rows"], table["different"], strict=True)
    ]
    return {row["key"].get("order_id") or row["key"].get("event_id"): row for row in rows}


def loaded(said: str) -> Any:
    """The JSON document in what a command has printed; what it says on stderr comes behind it."""
    return json.JSONDecoder().raw_decode(said, said.index("{"))[0]


def test_a_table_of_your_own_takes_what_the_page_says(line: Line):
    files = dict(blocks((ROOT / "docs" / "your-tables.md").read_text()))
    entry = files.pop("schemas/tables.py")
    for name, text in files.items():
        (line.folder / name).write_text(text)
    tables = line.folder / "schemas" / "tables.py"
    text = (
        tables.read_text()
        .replace("TABLES: tuple", f"{entry}\n\nTABLES: tuple")
        .replace("PRICE_HISTORY)", "PRICE_HISTORY, REFUNDS)")
    )
    tables.write_text(text)

    line.run("migrate")
    refund = "INSERT INTO sales.refunds VALUES ('t', %s, 'o', 12.3456, %s, '2026-02-28T23:59:59.999999Z')"
    with line.psql("shop", "app_writer", "HEADRACE_OLTP__APP_WRITER_PASSWORD") as sales:
        sales.execute(refund, ["before", "was there before it was captured"])
        assert "sales.refunds" in line.run("connectors", "plan")
        line.run("connectors", "apply")
        assert "0 change(s)" in line.run("connectors", "plan")
        line.worker("report").terminate()
        eventually(lambda: not running(line, "report"))
        line.run("up")
        sales.execute(refund, ["after", None])
    result = line.verify()
    assert result["equal"]
    assert (result["tables"]["refunds"]["source"], result["tables"]["refunds"]["report"]) == (2, 2)
    with line.psql("reporting", "reporting_reader", "HEADRACE_REPORTING__READER_PASSWORD") as reporting:
        seen = reporting.execute(
            "SELECT refund_id, amount, refunded_at::text FROM report.refunds ORDER BY 1"
        ).fetchall()
    assert [row[0] for row in seen] == ["after", "before"]


def test_capture_can_be_removed_slot_and_publication_included(line: Line):
    line.run("connectors", "remove")
    with line.psql("shop", "migrator", "HEADRACE_OLTP__MIGRATOR_PASSWORD") as sales:
        assert sales.execute("SELECT slot_name FROM pg_replication_slots").fetchall() == []
        assert sales.execute("SELECT pubname FROM pg_publication").fetchall() == []


def running(line: Line, name: str) -> bool:
    try:
        return line.worker(name).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """The files on a documentation page: fenced blocks whose first line is a comment with a path."""
    for body in re.findall(r"```\w+\n(.*?)```", page, re.DOTALL):
        first, _, rest = body.partition("\n")
        path = re.fullmatch(r"(?:--|#) ([\w/]+\.\w+)", first)
        if path:
            yield path[1], rest
