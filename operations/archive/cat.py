"""`headrace archive cat`: what is archived, as JSON lines."""

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


def lines(log: Log, table: Table, selection: ArchiveSelection) -> Iterator[str]:
    """The selected records, one JSON object a line: decimals as text, instants in UTC with microseconds, JSON as the
    text that is stored. Raises what `records` does."""
    for datum in records(log, table, selection):
        yield orjson.dumps(datum, default=_exact, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def write(some: Iterable[str], limit: int | None = None) -> None:
    """Writes lines to stdout, at most `limit`. A reader that has had enough of them is no error."""
    try:
        for line in islice(some, limit):
            sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # what is still buffered would break again when Python ends
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
