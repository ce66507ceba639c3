"""How large a value and a record may be. Everything that carries records derives its limits from here.

The source refuses a value that is longer than a setting says (`Oltp.max_value_bytes`, at most LONGEST_VALUE). A value
that comes in spite of that is cut by Debezium to CUT_AT, one unit more than any value may have: its record still fits
into Kafka, so capture goes on, and the decoder knows the value as cut and refuses the record. Units are those of
UTF-16, which Java counts; a unit takes at most three bytes of UTF-8, so LONGEST_VALUE bytes are never cut.

CUT_AT never changes: records stay in the topics for ever, and a value that was cut must be known as such in a rebuild.
"""

from collections.abc import Iterable

from schemas.tables import Mode, Table
from schemas.types import Json, Text, Type

MB = 1 << 20
LONGEST_VALUE = 4 * MB
CUT_AT = LONGEST_VALUE + 1

# Kafka's default, and the least that a topic is given: a batch of small records is as large.
LEAST_RECORD = MB
# librdkafka receives at most 100,000,000 bytes at once; a broker at most 100 MB.
LARGEST_RECORD = 90 * MB
# What a dead letter has besides the record that it keeps: where it stood, why it was refused.
DEAD_LETTER_OVERHEAD = MB

_ENVELOPE = 64 << 10  # field names are in the schema; source, headers and key are short
_FIXED = 64  # a number, a date, an instant, a UUID


def is_cut(text: str) -> bool:
    """Whether a captured value is longer than any may be, so that capture has cut it."""
    # One character is one or two units: short texts, nearly all, are decided by their length.
    return len(text) > LONGEST_VALUE // 2 and len(text.encode("utf-16-le")) // 2 > LONGEST_VALUE


def record_bytes(tables: Iterable[Table]) -> int:
    """The bytes that a record of these tables takes at most; at least LEAST_RECORD."""
    return max([LEAST_RECORD, *map(largest_record, tables)])


def largest_record(table: Table) -> int:
    """The bytes that a record of this table takes at most: a changed row is in it twice, before and after."""
    images = 1 if table.mode is Mode.EVENT else 2
    return _ENVELOPE + images * sum(_largest_value(column.type) for column in table.all_columns)


def _largest_value(type_: Type) -> int:
    match type_:
        case Text(length=int(length)):
            return 4 * length
        case Text() | Json():
            return 3 * CUT_AT
    return _FIXED
