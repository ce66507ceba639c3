"""Generations of reporting: their states, as `headrace.generation` records them.

A number is used once: a worker that was left running for an abandoned generation must not write into a later one.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from schemas.errors import HeadraceError
from sinks.reporting import control

Query = Callable[[str, Sequence[Any]], Sequence[Any]]  # (sql, parameters) → rows
Offsets = Mapping[tuple[str, int], int]


class State(StrEnum):
    """State of a generation.

    BUILDING: workers fill it, readers don't see it. LIVE: readers see it. PREVIOUS: it was live, and workers still
    write to it. DROPPED: it is removed, or is being removed.
    """

    BUILDING = "building"
    LIVE = "live"
    PREVIOUS = "previous"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation. It contains nothing that was captured before `epoch`."""

    number: int
    state: State
    epoch: int

    @property
    def is_active(self) -> bool:
        """True while workers write to it."""
        return self.state is not State.DROPPED


def read(query: Query) -> list[Generation]:
    """Return all generations, in order of their numbers."""
    rows = query(*control.read_generations())
    return [Generation(number=number, state=State(state), epoch=epoch) for number, state, epoch in rows]


def is_replaced(query: Query, number: int) -> bool:
    """Return whether readers see a later generation than this one."""
    return any(each.number > number and each.state is State.LIVE for each in read(query))


def refuse_dropped(query: Query, number: int) -> None:
    """Raise HeadraceError if the generation was dropped: its tables and topics do not come back."""
    if any(each.number == number and each.state is State.DROPPED for each in read(query)):
        raise HeadraceError(
            f"generation {number} of reporting was dropped, so there is nothing left to look at; "
            "see docs/runbook.md#generation-still-fed"
        )


def active_numbers(found: Sequence[Generation]) -> list[int]:
    """Return the numbers of the generations that workers write to.

    Retention and erasure must delete from each of them.
    """
    return [each.number for each in found if each.is_active]


def live(found: Sequence[Generation]) -> Generation:
    """Return the generation that readers see. Raises HeadraceError if there is none."""
    for each in found:
        if each.state is State.LIVE:
            return each
    raise HeadraceError("reporting has no generation that its readers see; run `headrace migrate`")


def lowest(offsets: Iterable[Offsets]) -> dict[tuple[str, int], int]:
    """Return each partition's lowest offset over all generations; a generation without the partition counts as 0."""
    each = list(offsets)
    return {at: min(found.get(at, 0) for found in each) for at in set().union(*each)}
