"""Run `headrace archive cat`: print archived records as JSON lines."""

import os
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from typing import Any

import orjson

from schemas.tables import Table
from sinks.archive.log import Log
from sinks.archive.reader import ArchiveSelection, records


def json_lines(log: Log, table: Table, selection: ArchiveSelection) -> Iterator[str]:
    """Yield the selected records, one JSON object a line. Raises as `sinks.archive.reader.records` does.

    Decimals are text, instants are in UTC with microseconds, and JSON columns are the stored text.
    """
    for datum in records(log, table, selection):
        yield orjson.dumps(datum, default=_exact, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def print_lines(some: Iterable[str], limit: int | None = None) -> None:
    """Print at most `limit` lines, all if None, to stdout. A closed pipe is no error."""
    try:
        for line in islice(some, limit):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # else Python would fail to flush the buffer at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _exact(value: Any) -> str:
    match value:
        case Decimal():
            return f"{value:f}"
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds")
        case date():
            return value.isoformat()
    raise TypeError(f"no text for {type(value).__name__}")
