"""T-SQL for a cutover, which swaps the readers' views: text only, golden files in tests/golden/sqlserver.

DDL takes no parameters, so each function returns its statement alone. CREATE VIEW must be alone in its batch. Opens
nothing.
"""

from schemas.generations import schema
from schemas.tables import Mode, Table


def take_replay_lock() -> str:
    """Return a query that takes the lock against a second replay for the session; it gives 1 if this session has it."""
    return """\
SET NOCOUNT ON;
DECLARE @taken INT;
EXEC @taken = sp_getapplock @Resource = N'headrace replay', @LockMode = N'Exclusive', @LockOwner = N'Session',
    @LockTimeout = 0;
SELECT CASE WHEN @taken >= 0 THEN 1 ELSE 0 END;"""


def limit_lock_wait(milliseconds: int) -> str:
    """Return a statement that limits how long later statements of the session wait for a lock."""
    return f"SET LOCK_TIMEOUT {milliseconds};"


def block_landing(generation: int) -> str:
    """Return a statement that keeps every worker from landing in a generation until the transaction ends."""
    return f"SELECT COUNT(*) FROM [{schema(generation)}].[checkpoint] WITH (TABLOCKX, HOLDLOCK);"


def list_views() -> str:
    """Return a query for the name and definition of each of the readers' views.

    INFORMATION_SCHEMA has no definition of more than 4,000 characters.
    """
    return """\
SELECT v.[name], m.[definition] FROM sys.views AS v
JOIN sys.schemas AS s ON s.[schema_id] = v.[schema_id]
JOIN sys.sql_modules AS m ON m.[object_id] = v.[object_id]
WHERE s.[name] = N'report';"""


def drop_view(table: Table) -> str:
    """Return a statement that drops a table's readers' view if it exists."""
    return f"DROP VIEW IF EXISTS [report].[{table.name}];"


def create_view(table: Table, generation: int) -> str:
    """Return a statement that creates a table's readers' view, without system columns and deleted rows."""
    columns = ", ".join(f"[{column.name}]" for column in table.all_columns)
    hidden = [] if table.mode is Mode.EVENT else ["[_deleted] = 0"]
    if table.soft_deleted:
        hidden.append(f"[{table.soft_deleted}] IS NULL")
    where = f"\nWHERE {' AND '.join(hidden)}" if hidden else ""
    source = f"[{schema(generation)}].[{table.name}]"
    return f"CREATE VIEW [report].[{table.name}] AS\nSELECT {columns}\nFROM {source}{where};"


def drop_freshness_view() -> str:
    """Return a statement that drops the readers' view of each table's freshness if it exists."""
    return "DROP VIEW IF EXISTS [report].[freshness];"


def create_freshness_view(generation: int) -> str:
    """Return a statement that creates the readers' view of each table's freshness (docs/freshness.md).

    Its lag, in seconds, is that of the moment of reading.
    """
    return f"""\
CREATE VIEW [report].[freshness] AS
SELECT [table_name], [complete_through],
    CAST(DATEDIFF_BIG(MILLISECOND, [complete_through], SYSUTCDATETIME()) / 1000.0 AS DECIMAL(19, 3)) AS [lag_seconds],
    [passed_at], [verified_through], [verified_at]
FROM [{schema(generation)}].[freshness];"""
