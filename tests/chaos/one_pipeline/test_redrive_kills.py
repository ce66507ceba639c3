"""Dead letters of a whole pipeline, redriven by a command that is killed in the middle."""

import orjson

from schemas.failpoints import FailPoint
from tests.support.eventually import eventually
from tests.support.pipeline import OwnPipeline

ORDERS = "reporting_g1.orders"


def test_a_redrive_that_is_killed_is_run_again_and_loses_and_repeats_nothing(pipeline: OwnPipeline):
    def letters() -> int:
        groups = orjson.loads(pipeline.run("dlq", "ls", "--topic", "shop.sales.orders", "--json"))
        return sum(group["open"] for group in groups if "no odd customer" in group["message"])

    migrator = pipeline.psql("reporting", "reporting_migrator", "HEADRACE_REPORTING__MIGRATOR_PASSWORD")
    shop = pipeline.psql("shop", "app_writer", "HEADRACE_OLTP__APP_WRITER_PASSWORD")
    migrator.execute(f"ALTER TABLE {ORDERS} ADD CONSTRAINT \"no odd customer\" CHECK (customer_id <> 'odd')".encode())
    for number, order in enumerate(("a", "b", "c"), start=1):
        shop.execute(
            "INSERT INTO sales.orders (tenant_id, order_month, order_id, customer_id, status, total, currency,"
            " placed_at) VALUES ('tenant-dlq', date_trunc('month', now())::date, %s, 'odd', 'placed', 1, 'BRL', now())",
            (order,),
        )
        # one by one, so that the first letter is not b's, which will be outdated
        eventually(lambda number=number: letters() == number, poll_s=1)  # type: ignore[misc]
    shop.execute("UPDATE sales.orders SET customer_id = 'even' WHERE tenant_id = 'tenant-dlq' AND order_id = 'b'")

    def landed() -> dict[str, str]:
        found = migrator.execute(f"SELECT order_id, customer_id FROM {ORDERS} WHERE tenant_id = 'tenant-dlq'".encode())
        return dict(found.fetchall())

    eventually(lambda: landed() == {"b": "even"})
    migrator.execute(f'ALTER TABLE {ORDERS} DROP CONSTRAINT "no odd customer"'.encode())

    pipeline.dies(FailPoint.REDRIVEN, 1, "dlq", "redrive", "--error", "no odd customer")
    assert (len(landed()), letters()) == (2, 3)  # one has landed, and this is not recorded
    said = pipeline.run("dlq", "redrive", "--error", "no odd customer", "--json")
    done = orjson.loads(said)
    assert (done["landed"], done["outdated"], len(done["letters"])) == (2, 1, 3)
    assert landed() == {"a": "odd", "b": "even", "c": "odd"}
    assert letters() == 0
    assert pipeline.verify()["equal"]
    migrator.close()
    shop.close()
