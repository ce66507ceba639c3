"""The whole line through the `headrace` command alone, as its users have it: stopped, killed, bent and extended."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import orjson
import psutil

from tests.chaos.line import COMMAND_S, Line
from tests.eventually import eventually

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


def test_verify_finds_the_changed_the_lost_and_the_added_row_and_nothing_else(line: Line):
    line.run("load", "shop", "--orders", "50", "--seed", "2")
    assert line.verify()["equal"]
    everything = "reporting_g1.orders"
    with line.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD") as reporting:
        three = reporting.execute(
            f"SELECT tenant_id, order_id FROM {everything} WHERE NOT _deleted ORDER BY 1, 2 LIMIT 3"
        ).fetchall()
        changed, lost, copied = (order_id for _, order_id in three)
        reporting.execute(
            f"CREATE TEMP TABLE kept AS SELECT * FROM {everything} WHERE order_id = ANY(%s)", [[changed, lost]]
        )
        reporting.execute(f"CREATE TEMP TABLE extra AS SELECT * FROM {everything} WHERE order_id = %s", [copied])
        reporting.execute("UPDATE extra SET order_id = 'never-ordered'")
        reporting.execute(f"INSERT INTO {everything} SELECT * FROM extra")
        reporting.execute(
            f"UPDATE {everything} SET placed_at = placed_at + interval '1 microsecond' WHERE order_id = %s", [changed]
        )
        reporting.execute(f"DELETE FROM {everything} WHERE order_id = %s", [lost])
        result = line.verify(expect=1)
        reporting.execute(f"DELETE FROM {everything} WHERE order_id IN (%s, 'never-ordered')", [changed])
        reporting.execute(f"INSERT INTO {everything} SELECT * FROM kept")
    found = {re.search("order_id=([^,)]+)", said)[1]: said for said in result["tables"]["orders"]["different"]}
    assert set(found) == {changed, lost, "never-ordered"}
    assert "placed_at is" in found[changed]
    assert "missing" in found[lost]
    assert "unexpected" in found["never-ordered"]
    assert [name for name, table in result["tables"].items() if table["different"]] == ["orders"]
    assert line.verify()["equal"]


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
