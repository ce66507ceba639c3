"""The Postgres dialect of sums over canonical text (schemas/checksums.py): text only, golden
files in tests/golden/postgres.

Opens nothing. The source and reporting are asked in the same words.
"""

from schemas.checksums import HASH_DIGITS
from schemas.tables import Column
from schemas.types import Date, Json, Text, Timestamp, Type, Uuid

COUNT = "count(*)"


def plain(column: Column) -> str:
    """Return a column as it is compared: text in code-point order, documents and ids as text."""
    match column.type:
        case Text():
            return f'"{column.name}" COLLATE "C"'
        case Json() | Uuid():
            return f'"{column.name}"::text COLLATE "C"'
    return f'"{column.name}"'


def row_text(fields: list[tuple[str, Type]]) -> str:
    """Return a row's canonical text from (expression, type) of each column."""
    return " || chr(31)\n        || ".join(_field(*field) for field in fields)


def text_hash(text: str) -> str:
    """Return the hash of a text as a 64-bit integer, equal to `schemas.checksums.text_hash`."""
    return f"('x' || left(md5({text}), {HASH_DIGITS}))::bit({4 * HASH_DIGITS})::bigint"


def total(hashed: str) -> str:
    """Return the sum of `text_hash` values."""
    return f"sum({hashed})"


def month(day: str) -> str:
    """Return the first day of a date's month."""
    return f"date_trunc('month', {day})::date"


def _field(expression: str, type_: Type) -> str:
    match type_:
        case Text():
            text = f"replace({expression}, chr(31), repeat(chr(31), 2))"
        case Timestamp():
            text = f"(extract(epoch FROM {expression}) * 1000000)::bigint"
        case Date():
            text = f"({expression} - DATE '1970-01-01')"
        case _:
            text = expression
    return f"coalesce('=' || {text}, '~')"
