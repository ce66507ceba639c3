"""Which generations of reporting there are, as `headrace.generation` has it; the SQL is both databases'.

A number is used once: a worker of a generation that was given up must not wake up in another one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from schemas.errors import HeadraceError

Query = Callable[[str], Sequence[Any]]
Offsets = Mapping[tuple[str, int], int]


class State(StrEnum):
    """BUILDING: being filled, not shown. LIVE: what readers see. PREVIOUS: was live, and is still fed. DROPPED: gone,
    or being removed."""

    BUILDING = "building"
    LIVE = "live"
    PREVIOUS = "previous"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation. It reads nothing that was captured before `epoch`."""

    number: int
    state: State
    epoch: int

    @property
    def is_fed(self) -> bool:
        """Whether workers feed it."""
        return self.state is not State.DROPPED


READ = "SELECT generation, state, epoch FROM headrace.generation ORDER BY generation"
# The first generation that a database gets is what its readers see.
ADOPT = """
INSERT INTO headrace.generation (generation, state, epoch)
SELECT {generation}, 'live', 1 WHERE NOT EXISTS (SELECT 1 FROM headrace.generation)
"""
IS_THERE = """
SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = 'headrace' AND TABLE_NAME = 'generation'
"""


def read(query: Query) -> list[Generation]:
    """All generations, in order, through a function that answers a query."""
    return [Generation(number=number, state=State(state), epoch=epoch) for number, state, epoch in query(READ)]


def is_replaced(query: Query, number: int) -> bool:
    """Whether readers see a later generation than this one."""
    return any(each.number > number and each.state is State.LIVE for each in read(query))


def refuse_dropped(query: Query, number: int) -> None:
    """Raises HeadraceError when the generation was dropped: its tables and topics do not come back."""
    if any(each.number == number and each.state is State.DROPPED for each in read(query)):
        raise HeadraceError(
            f"generation {number} of reporting was dropped, so there is nothing left to look at; "
            "see docs/runbook.md#generation-still-fed"
        )


def begin(generation: Generation) -> str:
    """Adds one."""
    return (
        "INSERT INTO headrace.generation (generation, state, epoch) "
        f"VALUES ({generation.number}, '{generation.state}', {generation.epoch})"
    )


def become(number: int, state: State, at: datetime) -> str:
    """Changes the state of one at an instant (UTC)."""
    changed = f"state = '{state}', changed_at = '{at.replace(tzinfo=None).isoformat(timespec='microseconds')}'"
    return f"UPDATE headrace.generation SET {changed} WHERE generation = {number}"


def fed(found: Sequence[Generation]) -> list[int]:
    """The numbers of those that workers feed: what ages out, or is erased, must leave each of them."""
    return [each.number for each in found if each.is_fed]


def live(found: Sequence[Generation]) -> Generation:
    """The one that readers see. Raises HeadraceError where there is none."""
    for each in found:
        if each.state is State.LIVE:
            return each
    raise HeadraceError("reporting has no generation that its readers see; run `headrace migrate`")


def least(offsets: Iterable[Offsets]) -> dict[tuple[str, int], int]:
    """Of each partition, how far the generation is that is the farthest behind. One that has not begun is at 0."""
    each = list(offsets)
    return {at: min(found.get(at, 0) for found in each) for at in set().union(*each)}
