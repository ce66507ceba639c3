"""SQL that takes a database's migration lock, so that two migrations never run in it at the same time."""

from typing import Literal

LOCK_SECONDS = 60
POSTGRES_TRANSACTION = "SELECT pg_advisory_xact_lock(hashtextextended('headrace migrate', 0))"
POSTGRES_SESSION = "SELECT pg_advisory_lock(hashtextextended('headrace migrate', 0))"


def sqlserver(owner: Literal["Transaction", "Session"]) -> str:
    """Return T-SQL that takes the lock until the end of `owner`, and throws if it is refused.

    sp_getapplock reports a refusal as a number only. It needs a transaction, and a driver's implicit transaction is
    begun by a SELECT from a table, not by EXEC.
    """
    return f"""
SET XACT_ABORT ON;
DECLARE @taken INT;
SELECT @taken = COUNT(*) FROM sys.schemas;
EXEC @taken = sp_getapplock @Resource = N'headrace migrate', @LockMode = N'Exclusive', @LockOwner = N'{owner}',
    @LockTimeout = {LOCK_SECONDS * 1000};
IF @taken < 0 THROW 50001, N'another migration holds the lock', 1;
"""


TRANSACTION = {"postgresql": POSTGRES_TRANSACTION, "mssql": sqlserver("Transaction")}  # by SQLAlchemy's dialect
