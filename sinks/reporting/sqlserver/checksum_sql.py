"""The T-SQL dialect of sums over canonical text (schemas/checksums.py): text only, golden
files in tests/golden/sqlserver.

Opens nothing. Hashes are of a text's UTF-8, as in Postgres. SQL Server has UTF-8 as a collation of VARCHAR since 2019;
without it HASHBYTES hashes UTF-16, no two sums are equal, and every row is compared. Babelfish has no such collation,
and hashes UTF-8 by itself.
"""

from schemas.tables import Column
from schemas.types import Boolean, Date, Integer, Numeric, Text, Timestamp, Type
from sinks.reporting.sqlserver.landing_sql import KEY_COLLATION

COUNT = "COUNT_BIG(*)"
UTF8 = "Latin1_General_100_BIN2_UTF8"
KNOWS_UTF8 = f"SELECT COUNT(*) FROM sys.fn_helpcollations() WHERE name = N'{UTF8}'"


def plain(column: Column) -> str:
    """Return a column as it is compared. The migrations gave keys a binary collation."""
    return f"[{column.name}]"


def row_text(fields: list[tuple[str, Type]]) -> str:
    """Return a row's canonical text from (expression, type) of each column."""
    first, *others = (_field(*field) for field in fields)
    # Without a MAX among them, the sum of shorter texts would be cut at 8,000 bytes.
    return " + NCHAR(31)\n        + ".join([f"CAST({first} AS NVARCHAR(MAX))", *others])


def text_hash(text: str) -> str:
    """Return the hash of a text. `total` uses its first 60 bits, as `schemas.checksums.text_hash` does."""
    return f"HASHBYTES('MD5', CONVERT(VARCHAR(MAX), ({text}) COLLATE {UTF8}))"


def own_text_hash(text: str) -> str:
    """Return the hash of a text on a server without a UTF-8 collation. It differs from `text_hash`."""
    return f"HASHBYTES('MD5', {text})"


def total(hashed: str) -> str:
    """Return the sum of the hashes' first 60 bits: seven bytes and the upper half of the eighth."""
    bits = f"CAST(SUBSTRING({hashed}, 1, 7) AS BIGINT) * 16 + CAST(SUBSTRING({hashed}, 8, 1) AS INT) / 16"
    return f"SUM(CAST({bits} AS DECIMAL(38, 0)))"


def month(day: str) -> str:
    """Return the first day of a date's month."""
    return f"DATEFROMPARTS(YEAR({day}), MONTH({day}), 1)"


def _field(expression: str, type_: Type) -> str:
    match type_:
        case Text():
            text = f"REPLACE({expression} COLLATE {KEY_COLLATION}, NCHAR(31), NCHAR(31) + NCHAR(31))"
        case Timestamp():
            text = f"CONVERT(NVARCHAR(20), DATEDIFF_BIG(MICROSECOND, CAST('1970-01-01' AS DATETIME2(6)), {expression}))"
        case Date():
            text = f"CONVERT(NVARCHAR(20), DATEDIFF(DAY, CAST('1970-01-01' AS DATE), {expression}))"
        case Integer():
            text = f"CONVERT(NVARCHAR(20), {expression})"
        case Numeric():
            text = f"CONVERT(NVARCHAR(41), {expression})"
        case Boolean():
            text = f"CASE {expression} WHEN 1 THEN N'true' WHEN 0 THEN N'false' END"
        case _:
            text = expression
    return f"ISNULL(N'=' + {text}, N'~')"
