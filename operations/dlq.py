"""`headrace dlq`: the dead letters, grouped by what went wrong."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby

import orjson
from rich.console import Console
from rich.table import Table as Grid

from kafka.dead_letters import DeadLetter, listing
from operations.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Dead letters of one topic with one message. Times are those of the records, UTC."""

    topic: str
    error: str
    message: str
    records: int
    first_seen: datetime
    last_seen: datetime
    example: str


def groups(letters: Iterable[DeadLetter]) -> list[Group]:
    """The dead letters by topic, error and message, the largest group first."""

    def kind(letter: DeadLetter) -> tuple[str, str, str]:
        return letter.record.topic, letter.error, letter.message

    found = [_group(*key, list(each)) for key, each in groupby(sorted(letters, key=kind), key=kind)]
    return sorted(found, key=lambda group: -group.records)


def _group(topic: str, error: str, message: str, letters: list[DeadLetter]) -> Group:
    times = [datetime.fromtimestamp(letter.record.timestamp / 1000, UTC) for letter in letters]
    record = letters[-1].record
    return Group(
        topic=topic,
        error=error,
        message=message,
        records=len(letters),
        first_seen=min(times),
        last_seen=max(times),
        example=f"{record.topic}[{record.partition}]@{record.offset}",
    )


def show(settings: Settings, out: Console, *, json: bool) -> None:
    """Print the groups. Raises HeadraceError or Unavailable when the topic can't be read."""
    found = groups(listing(settings.kafka.bootstrap))
    if json:
        out.print_json(orjson.dumps(found).decode())
        return
    if not found:
        out.print("No dead letters.")
        return
    grid = Grid("records", "topic", "error", "last seen (UTC)", "the newest", box=None, pad_edge=False)
    for group in found:
        seen = group.last_seen.strftime("%Y-%m-%d %H:%M:%S")
        grid.add_row(str(group.records), group.topic, group.message, seen, group.example)
    out.print(grid)
