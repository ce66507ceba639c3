"""The effect of migrations on readers' views; tests/integration runs it on Postgres and SQL Server."""

from migrations.connections import connected
from operations import connections
from operations.migrate import migrate_reporting, reporting_server
from operations.settings import Settings
from schemas.tables import PAYMENTS


def a_column_that_came_later_reaches_the_view(settings: Settings) -> None:
    """The view is created again, with its readers' rights, and the other views do not change."""
    with connected(reporting_server(settings)) as connection, connection.begin():
        connection.exec_driver_sql("DROP VIEW report.payments")
        connection.exec_driver_sql("CREATE VIEW report.payments AS SELECT tenant_id FROM reporting_g1.payments")
    events: list[str] = []
    assert migrate_reporting(settings, 1, events.append) == []
    assert events == ["reporting generation 1: view report.payments"]
    columns = ", ".join(column.name for column in PAYMENTS.columns)
    reader = connections.report(settings, "reader", generation=1)
    assert reader.query(f"SELECT {columns} FROM report.payments") is not None
    reader.close()
