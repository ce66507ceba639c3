"""Send values to SQL Server in bulk: one JSON parameter, which OPENJSON turns into rows."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import orjson

from schemas.change import Row
from sinks.reporting.port import Poison

_LONG_TEXT = (-9, 0, 0)  # SQL_WVARCHAR without a length is NVARCHAR(MAX)


class LongText(str):
    """A text parameter of any length. Not for comparing with a key: its type would keep the index from being used."""

    __slots__ = ()


def input_sizes(parameters: Sequence[object]) -> list[tuple[int, int, int] | None]:
    """Return what pyodbc's `setinputsizes` takes for parameters: the type of each `LongText`, None for the others."""
    return [_LONG_TEXT if isinstance(each, LongText) else None for each in parameters]


def to_json(rows: Sequence[Sequence[object]]) -> LongText:
    """Rows as a JSON array of arrays, without loss: decimals and times as text in the form that T-SQL reads exactly.

    Raises Poison for text that is not Unicode.
    """
    try:
        return LongText(orjson.dumps(rows, default=_plain, option=orjson.OPT_PASSTHROUGH_DATETIME).decode())
    except TypeError as error:
        raise Poison(f"reporting cannot hold a value: {error}") from None


def require_fits(columns: Sequence[str], limits: Mapping[str, int], rows: Sequence[Row], text: str) -> None:
    """Raise Poison for a text with more UTF-16 code units than its column has.

    NVARCHAR(n) counts code units, where the source and decoding count characters. `limits` are the columns' lengths,
    `text` is the rows as JSON.
    """
    if _units(text) == len(text):
        return  # each character is one unit, and decoding has counted them
    for row in rows:
        for name, value in zip(columns, row, strict=True):
            if isinstance(value, str) and name in limits and _units(value) > limits[name]:
                raise Poison(f"{name}: expected at most {limits[name]} UTF-16 code units, got {_units(value)}")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")[:26]  # it is UTC; DATETIME2 holds no offset
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")
    raise TypeError(f"{type(value).__name__} has no form in JSON")
