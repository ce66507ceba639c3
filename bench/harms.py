"""What verification finds, and what it does not, on the line that HEADRACE_STACK_DIR names, while the shop trades.

    python -m bench.harms --runs 100 --rate 20

First nothing is wrong: each run must say so. Then a cell is changed, a row deleted, a row added and an instant shifted
by a microsecond in reporting: a run must find exactly these four, and mend them. Postgres plays reporting.
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
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=100)
    arguments.add_argument("--rate", type=float, default=20)
    asked = arguments.parse_args()
    given = settings.load()
    trade = ("load", "shop", "--orders", "100000", "--seed", str(int(time.time())), "--rate", str(asked.rate))
    shop = subprocess.Popen([sys.executable, "-m", "operations", *trade], stdout=subprocess.DEVNULL)
    try:
        show_nothing_wrong(given, asked.runs)
        show_harms(given)
    finally:
        shop.terminate()
        shop.wait()


def show_nothing_wrong(given: settings.Settings, runs: int) -> None:
    falsely, seconds, rows = 0, [], []
    for run in range(runs):
        result = look(given)
        seconds.append(result.seconds)
        rows.append(sum(table.source for table in result.tables))
        falsely += not result.equal
        if not result.equal or run % 10 == 0:
            print(f"run {run + 1}: {said(result) or 'equal'}", flush=True)
    print(
        f"{runs} runs over {rows[0]:,} rows, in the end {rows[-1]:,}: {falsely} found a difference; "
        f"{min(seconds):.1f} s to {max(seconds):.1f} s, median {sorted(seconds)[runs // 2]:.1f} s"
    )


def show_harms(given: settings.Settings) -> None:
    with psycopg.connect(connections.reporting_conninfo(given, "migrator"), autocommit=True) as reporting:
        harm(reporting, f"reporting_g{given.reporting.generation}")
    found = said(look(given))
    print(f"after four harms: {len(found)} found", *found, sep="\n  ")
    assert len(found) == len(HARMS) and all(any(one in each for each in found) for one in HARMS.values())
    mended = said(look(given, repair=True))
    assert not mended, mended
    print("repaired: equal")


def look(given: settings.Settings, *, repair: bool = False) -> Result:
    return verify.verify(given, deadline_s=DEADLINE_S, repair_by="bench.harms" if repair else None)


def said(result: Result) -> list[str]:
    return [str(each) for table in result.tables for each in [*table.different, *table.unsettled]]


def harm(reporting: psycopg.Connection, schema: str) -> None:
    """Harm rows of orders that were delivered, which nobody touches any more."""
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
