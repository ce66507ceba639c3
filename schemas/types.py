"""The column types that Headrace carries without loss, from Postgres through Avro to both reporting databases."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Text:
    """Unicode text of at most `length` characters; None means unbounded."""

    length: int | None = None


@dataclass(frozen=True, slots=True)
class Numeric:
    """An exact decimal: `precision` digits in all, `scale` of them after the point."""

    precision: int = 19
    scale: int = 4


@dataclass(frozen=True, slots=True)
class Integer:
    """A signed integer of 32 bits, or of 64 when `big`."""

    big: bool = False


@dataclass(frozen=True, slots=True)
class Boolean:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Date:
    """A calendar day."""


@dataclass(frozen=True, slots=True)
class Timestamp:
    """An instant in UTC with microseconds (`timestamptz`, `datetime2(6)`)."""


@dataclass(frozen=True, slots=True)
class Json:
    """A JSON document, carried as its text."""


@dataclass(frozen=True, slots=True)
class Uuid:
    """A UUID, carried as its canonical text."""


Type = Text | Numeric | Integer | Boolean | Date | Timestamp | Json | Uuid
