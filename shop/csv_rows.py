"""Read the rows of a CSV file. An error names file, line, column and the expected value."""

import csv
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import NoReturn, TypeVar
from zoneinfo import ZoneInfo

from schemas.errors import HeadraceError
from shop.payments import CENT

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
T = TypeVar("T")


class CsvRow:
    """A row with its file and line, which errors name."""

    __slots__ = ("_fields", "_where")

    def __init__(self, fields: Mapping[str, str | None], where: str) -> None:
        self._fields, self._where = fields, where

    def maybe(self, column: str) -> str:
        """Return the column's text; empty for no value."""
        return self._fields[column] or ""

    def text(self, column: str) -> str:
        """Return the column's text. Raises HeadraceError for no value."""
        return self.maybe(column) or self.fail(column, "a value")

    def one_of(self, column: str, known: Collection[str]) -> str:
        """Return the column's text, which must be one of `known`."""
        value = self.text(column)
        return value if value in known else self.fail(column, f"one of {', '.join(sorted(known))}")

    def found_in(self, column: str, known: Container[str], file: str) -> str:
        """Return the column's text, which must be a key of `file`, whose keys are `known`."""
        value = self.text(column)
        return value if value in known else self.fail(column, f"one in {file}")

    def number(self, column: str) -> int:
        """Return the column's whole number."""
        return self._parse(column, int, "a whole number")

    def money(self, column: str) -> Decimal:
        """Return the column's amount."""
        return self._parse(column, _money, "an amount such as 21.99, of whole cents and not below zero")

    def moment(self, column: str) -> datetime:
        """Return the column's local time, in UTC."""
        return self._parse(column, utc, "a local time such as 2017-11-27 19:09:02")

    def maybe_moment(self, column: str) -> datetime | None:
        """Return the column's local time, in UTC; None for no value."""
        return self.moment(column) if self.maybe(column) else None

    def fail(self, column: str, expected: str) -> NoReturn:
        """Raise HeadraceError for the column's value."""
        raise HeadraceError(f"{self._where}: {column} is {self.maybe(column)!r}; expected {expected}")

    def _parse(self, column: str, parse: Callable[[str], T], expected: str) -> T:
        try:
            return parse(self.text(column))
        except (ValueError, ArithmeticError):
            self.fail(column, expected)


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[CsvRow]:
    """Yield the rows of Olist's file at `path`. Raises HeadraceError unless it is a CSV file with these columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _parsed(csv.DictReader(file), path, columns)
    except OSError as error:
        raise HeadraceError(f"{path}: {error.strerror}; expected Olist's file with {', '.join(columns)}") from None
    except UnicodeDecodeError as error:
        raise HeadraceError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); expected a CSV file") from None
    except csv.Error as error:
        raise HeadraceError(f"{path}: {error}; expected a CSV file with {', '.join(columns)}") from None


def _parsed(reader: "csv.DictReader[str]", path: Path, columns: Sequence[str]) -> Iterator[CsvRow]:
    found = reader.fieldnames or []
    missing = [column for column in columns if column not in found]
    if missing:
        raise HeadraceError(f"{path}, line 1: no column {', '.join(missing)}; expected one, found: {', '.join(found)}")
    for fields in reader:
        yield CsvRow(fields, f"{path}, line {reader.line_num}")


def utc(local: str) -> datetime:
    """Convert a time local to São Paulo to UTC. Raises ValueError.

    Fold 0 (PEP 495): a repeated hour is read as the first one, a skipped time with the offset before the gap.
    """
    return datetime.strptime(local, "%Y-%m-%d %H:%M:%S").replace(tzinfo=SAO_PAULO).astimezone(UTC)


def _money(text: str) -> Decimal:
    amount = Decimal(text)
    if not amount.is_finite() or amount < 0 or amount != amount.quantize(CENT):
        raise ValueError(text)
    return amount.quantize(CENT)
