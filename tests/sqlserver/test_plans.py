"""Landing's statements read only the rows of the batch from a table of millions, each by its key."""

from collections.abc import Sequence
from contextlib import closing

import pytest

from schemas.change import Change
from schemas.tables import ORDERS
from sinks.reporting.sqlserver import landing_sql as sql
from tests.support.bulk_rows import Filled
from tests.support.query_plans import Step, steps


def plan(big: Filled, changes: Sequence[Change], statement: str) -> list[Step]:
    """The plan of a statement of landing, with these changes staged; what it does is rolled back."""
    with closing(big.landing()) as landing, landing._session.transaction() as transaction:
        landing._prepare_stage(transaction, ORDERS, set())
        landing._driver.load_stage(transaction, ORDERS, {change.key: change for change in changes})
        found = steps(transaction.cursor, statement)
        transaction.cursor.connection.rollback()
    return found


@pytest.mark.parametrize("size", [1, 100, 10_000])
@pytest.mark.parametrize("what", ["update", "insert"])
def test_a_batch_seeks_its_rows_whatever_its_size(sql_server: Filled, what: str, size: int) -> None:
    numbers = range(1, size * 7, 7)
    changes = sql_server.updates(numbers, "x") if what == "update" else sql_server.inserts(numbers, "p")
    statement = sql.update(ORDERS, 1) if what == "update" else sql.insert(ORDERS, 1)
    found = plan(sql_server, changes, statement)
    reads = [step for step in found if step.table == "orders" and step.operator.startswith("Clustered Index S")]
    assert [step.operator for step in reads] == ["Clustered Index Seek"], found
    assert reads[0].rows_read <= size, found
    assert not [step for step in found if step.operator in ("Hash Match", "Merge Join")], found
