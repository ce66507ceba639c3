"""What turning the readers' views needs of each database: text only, opens nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType

from schemas.errors import HeadraceError
from schemas.generations import schema
from schemas.tables import reported
from sinks.reporting.postgres import errors as postgres_errors
from sinks.reporting.postgres import landing_sql as postgres_sql
from sinks.reporting.sqlserver import errors as sqlserver_errors
from sinks.reporting.sqlserver import landing_sql as sqlserver_sql


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoverDialect:
    """`take_lock` gives 1 where this session now is the only one to replay. `patience` is how many milliseconds the
    statements after it wait for a lock. `hold` keeps everybody from landing in a generation until the transaction ends;
    `turn` are the statements that make readers see one. `classify` tells what a driver's error means."""

    take_lock: str
    patience: Callable[[int], str]
    hold: Callable[[int], str]
    turn: Callable[[int], list[str]]
    classify: Callable[[BaseException], HeadraceError]


def tables_of(generation: int) -> str:
    """The names of a generation's tables."""
    return f"SELECT TABLE_NAME FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = '{schema(generation)}'"


def schemas() -> str:
    """The names of the schemas that this login owns or may see."""
    return "SELECT SCHEMA_NAME FROM INFORMATION_SCHEMA.SCHEMATA"


def drop_table(generation: int, name: str) -> str:
    """Drops one table of a generation; a database refuses while anything, such as a view, depends on it."""
    return f'DROP TABLE {schema(generation)}."{name}"'


def drop_schema(generation: int) -> str:
    """Drops the empty schema of a generation."""
    return f"DROP SCHEMA {schema(generation)}"


def _turn(sql: ModuleType, generation: int) -> list[str]:
    """Not CREATE OR REPLACE: columns may have changed, and Babelfish has no CREATE OR ALTER."""
    statements = []
    for table in reported():
        statements += [sql.drop_view(table), sql.create_view(table, generation)]
    return [*statements, sql.drop_freshness_view(), sql.create_freshness_view(generation)]


POSTGRES = CutoverDialect(
    take_lock="SELECT CAST(pg_try_advisory_lock(hashtextextended('headrace replay', 0)) AS int)",
    patience=lambda milliseconds: f"SET LOCAL lock_timeout = {milliseconds}",
    hold=lambda generation: f"LOCK TABLE {schema(generation)}.checkpoint IN EXCLUSIVE MODE",
    turn=partial(_turn, postgres_sql),
    classify=postgres_errors.classify,  # type: ignore[arg-type]  # psycopg's own
)
SQLSERVER = CutoverDialect(
    take_lock="""\
SET NOCOUNT ON;
DECLARE @taken INT;
EXEC @taken = sp_getapplock @Resource = N'headrace replay', @LockMode = N'Exclusive', @LockOwner = N'Session',
    @LockTimeout = 0;
SELECT CASE WHEN @taken >= 0 THEN 1 ELSE 0 END;""",
    patience=lambda milliseconds: f"SET LOCK_TIMEOUT {milliseconds};",
    hold=lambda generation: f"SELECT COUNT(*) FROM [{schema(generation)}].[checkpoint] WITH (TABLOCKX, HOLDLOCK);",
    turn=partial(_turn, sqlserver_sql),
    classify=lambda error: sqlserver_errors.classify(error.args),
)
