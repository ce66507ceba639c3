"""The Postgres dialect of sums over canonical text (schemas/checksums.py): text only, golden
files in tests/golden/postgres.

Opens nothing. The source and reporting are asked in the same words.
"""

from schemas.checksums import HASH_DIGITS
from schemas.tables import Column
from schemas.types import Date, Json, Text, Timestamp, Type, Uuid

COUNT = "count(*)"


def plain(column: Column) -> str:
    """A column as it is compared: text in code-point order, documents and ids as text."""
    match column.type:
        case Text():
            return f'"{column.name}" COLLATE "C"'
        case Json() | Uuid():
            return f'"{column.name}"::text COLLATE "C"'
    return f'"{column.name}"'


def row_text(fields: list[tuple[str, Type]]) -> str:
    """A row's canonical text, of (expression, type) of each column."""
    return " || chr(31)\n        || ".join(_field(*field) for field in fields)


def text_hash(text: str) -> str:
    """The hash of a text, as 64-bit integer: `schemas.checksums.text_hash`."""
    return f"('x' || left(md5({text}), {HASH_DIGITS}))::bit({4 * HASH_DIGITS})::bigint"


def total(hashed: str) -> str:
    """The sum of what `text_hash` gives."""
    return f"sum({hashed})"


def month(day: str) -> str:
    """The first day of a date's month."""
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
