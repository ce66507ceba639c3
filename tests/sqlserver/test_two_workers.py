"""Two workers land in one tenant's month of a table of millions: neither waits for the other, nor kills it."""

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from operations import connections
from schemas.change import Change
from schemas.tables import ORDERS
from sinks.reporting.port import Batch
from tests.support.bulk_rows import Filled

BATCHES = 10
DEADLOCKS = (
    "SELECT SUM(cntr_value) FROM sys.dm_os_performance_counters "
    "WHERE counter_name LIKE 'Number of Deadlocks/sec%' AND instance_name = '_Total'"
)
ESCALATIONS = (
    "SELECT SUM(index_lock_promotion_count) FROM sys.dm_db_index_operational_stats("
    "DB_ID(), OBJECT_ID('reporting_g1.orders'), NULL, NULL)"
)


def both(big: Filled, changes: Callable[[int, int], list[Change]]) -> list[int]:
    """Two workers at once, each landing BATCHES batches of `changes(worker, batch)`; how many rows each has written."""
    prepared = [[changes(worker, number) for number in range(BATCHES)] for worker in range(2)]

    def work(batches: list[list[Change]]) -> int:
        with closing(big.landing()) as landing:
            return sum(landing.land(Batch(changes=batch, checkpoints={})).written for batch in batches)

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(work, prepared))


def neighbours(big: Filled, suffix: str) -> Callable[[int, int], list[Change]]:
    """Half updates, half inserts: one worker has the even numbers, the other the odd ones, so that each key of one lies
    between two of the other's. In no order."""

    def changes(worker: int, number: int) -> list[Change]:
        mine = random.Random(worker * BATCHES + number).sample(range(1 + worker, big.rows, 2), big.batch // 2)  # noqa: S311
        found = big.updates(mine, f"{suffix}-{worker}") + big.inserts(mine, f"{suffix}{worker}{number}")
        random.Random(number).shuffle(found)  # noqa: S311
        return found

    return changes


def test_workers_on_neighbouring_keys_write_every_row_and_meet_no_deadlock(big: Filled) -> None:
    inserted = 2 * BATCHES * (big.batch // 2)
    assert both(big, neighbours(big, "n")) == [inserted, inserted]
    assert big.count("[order_id] LIKE N'o-%-n%'") == inserted


def test_the_server_counts_no_deadlock_and_no_escalation(sql_server: Filled) -> None:
    counts = [sql_server.owner.execute(each).fetchval() for each in (DEADLOCKS, ESCALATIONS)]
    both(sql_server, neighbours(sql_server, "c"))
    assert [sql_server.owner.execute(each).fetchval() for each in (DEADLOCKS, ESCALATIONS)] == counts


def test_workers_on_the_same_keys_leave_the_newest_change(big: Filled) -> None:
    """As after a rebalance, when the old owner still has a batch in hand: both have the same rows, some new."""
    numbers = random.Random(7).sample(range(1, big.rows), big.batch // 2)  # noqa: S311

    def changes(worker: int, number: int) -> list[Change]:
        return big.updates(numbers, f"z{number}") + big.inserts(numbers, "z")

    both(big, changes)
    assert big.count("[order_id] LIKE N'o-%-z'") == len(numbers)
    assert big.count(f"[status] = N'z{BATCHES - 1}'") == len(numbers)


def test_a_batch_in_hand_keeps_nobody_out(big: Filled) -> None:
    """Ten thousand rows are written and not committed: another worker lands beside them, and a reader reads."""
    even, odd = (range(start, start + 2 * big.batch, 2) for start in (2, 1))
    with closing(big.landing()) as one, closing(big.landing()) as other:
        with one._session.transaction() as transaction:
            newest = {change.key: change for change in big.updates(even, "held")}
            assert one._land_round(transaction, ORDERS, newest, set()) == big.batch
            landed = other.land(Batch(changes=big.updates(odd, "beside"), checkpoints={}))
            assert landed.written == big.batch
            assert seen(big, "held") == 0
        assert seen(big, "held") == big.batch


def seen(big: Filled, status: str) -> Any:
    """Return the number of orders of a status that readers see."""
    with closing(connections.report(big.settings, "reader", generation=1)) as reader:
        return reader.query(f"SELECT COUNT(*) FROM report.orders WHERE status = '{status}'")[0][0]
