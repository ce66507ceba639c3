"""Test that `headrace verify` finds corrupted rows and reports no false ones, while orders are being written.

    python -m bench.harms --runs 100 --rate 20

Uses the pipeline in HEADRACE_STACK_DIR, with Postgres as the reporting database. First nothing is wrong, and each run
must find all rows equal. Then, in reporting, a value is changed, a row deleted, a row added, and a timestamp shifted by
a microsecond: a run must find exactly these four and repair them.
"""

import argparse
import subprocess
import sys
import time

import psycopg

from operations import connections, settings
from operations.verify import run as verify
from operations.verify.settle import Result

DEADLINE_S = 300.0
HARMS = {
    "UPDATE {g}.orders SET total = total + 0.0001 WHERE order_id = %s": "total is",
    "DELETE FROM {g}.payments WHERE order_id = %s": "missing in reporting",
    "INSERT INTO {g}.order_lines SELECT * FROM added": "unexpected in reporting",
    "UPDATE {g}.events SET occurred_at = occurred_at + interval '1 microsecond' "
    "WHERE event_type = 'OrderPlaced' AND aggregate_id = %s": "occurred_at is",
}


def main() -> None:
    """Write orders in the background, and run both parts."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--rate", type=float, default=20)
    asked = arguments.parse_args()
    given = settings.load()
    trade = ("load", "shop", "--orders", "100000", "--seed", str(int(time.time())), "--rate", str(asked.rate))
    shop = subprocess.Popen([sys.executable, "-m", "operations", *trade], stdout=subprocess.DEVNULL)
    try:
        count_false_differences(given, asked.runs)
        find_harms(given)
    finally:
        shop.terminate()
        shop.wait()


def count_false_differences(given: settings.Settings, runs: int) -> None:
    """Verify `runs` times and print how many runs found a difference where there is none."""
    falsely, seconds, rows = 0, [], []
    for run in range(runs):
        result = verify_all(given)
        seconds.append(result.seconds)
        rows.append(sum(table.source for table in result.tables))
        falsely += not result.equal
        if not result.equal or run % 10 == 0:
            print(f"run {run + 1}: {differences(result) or 'equal'}", flush=True)
    print(
        f"{runs} runs over {rows[0]:,} rows, in the end {rows[-1]:,}: {falsely} found a difference; "
        f"{min(seconds):.1f} s to {max(seconds):.1f} s, median {sorted(seconds)[runs // 2]:.1f} s"
    )


def find_harms(given: settings.Settings) -> None:
    """Corrupt four rows; check that verify finds exactly these, and that `--repair` repairs them."""
    with psycopg.connect(connections.reporting_conninfo(given, "migrator"), autocommit=True) as reporting:
        harm(reporting, f"reporting_g{given.reporting.generation}")
    found = differences(verify_all(given))
    print(f"after four harms: {len(found)} found", *found, sep="\n  ")
    assert len(found) == len(HARMS) and all(any(one in each for each in found) for one in HARMS.values())
    left = differences(verify_all(given, repair=True))
    assert not left, left
    print("repaired: equal")


def verify_all(given: settings.Settings, *, repair: bool = False) -> Result:
    return verify.verify(given, deadline_s=DEADLINE_S, repair_by="bench.harms" if repair else None)


def differences(result: Result) -> list[str]:
    return [str(each) for table in result.tables for each in [*table.different, *table.unsettled]]


def harm(reporting: psycopg.Connection, schema: str) -> None:
    """Corrupt rows of delivered orders, which no longer change."""
    orders = reporting.execute(
        f"SELECT order_id FROM {schema}.orders JOIN {schema}.payments USING (tenant_id, order_id) "
        "WHERE orders.status = 'delivered' GROUP BY 1 HAVING count(*) = 1 ORDER BY md5(order_id) LIMIT 4"
    ).fetchall()
    reporting.execute(
        f"CREATE TEMP TABLE added AS SELECT * FROM {schema}.order_lines WHERE order_id = %s LIMIT 1", orders[2]
    )
    reporting.execute("UPDATE added SET line_no = 99")
    for statement, order in zip(HARMS, orders, strict=True):
        marks = order if "%s" in statement else None
        assert reporting.execute(statement.format(g=schema).encode(), marks).rowcount == 1


if __name__ == "__main__":
    main()
