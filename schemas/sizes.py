"""Limits of values and records. Everything that carries records derives its limits from here.

The source refuses a value that is longer than a setting allows (`OltpSettings.max_value_bytes`, at most LONGEST_VALUE).
A longer value that arrives nevertheless is cut by Debezium to CUT_AT, one unit more than any value may have. Its record
still fits into Kafka, so capture continues. The decoder recognizes the value as cut and refuses the record. Units are
those of UTF-16, which Java counts. A unit takes at most three bytes of UTF-8, so LONGEST_VALUE bytes are never cut.

CUT_AT never changes: records stay in the topics for ever, and a rebuild must recognize a value that was cut.
"""

from collections.abc import Iterable

from schemas.tables import Mode, Table
from schemas.types import Json, Text, Type

MB = 1 << 20
LONGEST_VALUE = 4 * MB
CUT_AT = LONGEST_VALUE + 1

# Kafka's default, and the smallest limit of a topic: a batch of small records is as large.
LEAST_RECORD = MB
# librdkafka receives at most 100,000,000 bytes at once; a broker at most 100 MB.
LARGEST_RECORD = 90 * MB
# The part of a dead letter besides the record that it keeps: its origin and the error.
DEAD_LETTER_OVERHEAD = MB

_ENVELOPE = 64 << 10  # field names are in the schema; source, headers and key are short
_FIXED = 64  # a number, a date, an instant, a UUID


def is_cut(text: str) -> bool:
    """Return whether capture has cut a value: it is longer than any value may be."""
    # One character is one or two units: short texts, nearly all, are decided by their length.
    return len(text) > LONGEST_VALUE // 2 and len(text.encode("utf-16-le")) // 2 > LONGEST_VALUE


def record_bytes(tables: Iterable[Table]) -> int:
    """Return the highest number of bytes of a record of these tables, at least LEAST_RECORD."""
    return max([LEAST_RECORD, *map(largest_record, tables)])


def largest_record(table: Table) -> int:
    """Return the highest number of bytes of a record of this table. A changed row is in it twice, before and after."""
    images = 1 if table.mode is Mode.EVENT else 2
    return _ENVELOPE + images * sum(_largest_value(column.type) for column in table.all_columns)


def _largest_value(type_: Type) -> int:
    match type_:
        case Text(length=int(length)):
            return 4 * length
        case Text() | Json():
            return 3 * CUT_AT
    return _FIXED
