"""Check the invariants of everything that reporting commits, in the order of its commits. Opens nothing.

1. No row goes back: the position of a key's change and its `updated_at` never decrease.
2. No commit is missing: each marker that the source has committed is seen in reporting.
3. Freshness is never ahead: a table is called complete through a moment only when all markers that the source had
   committed by then have been seen before.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Key = tuple[str, ...]
Position = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A row as one commit of reporting left it. `commit` counts the commits seen, `committed` is when it was.
    `updated_at` is the source's, None for an event and for a deleted row."""

    table: str
    key: Key
    position: Position | None
    updated_at: datetime | None
    commit: int
    committed: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """A commit of reporting that calls `table` complete through a moment of the source's clock."""

    table: str
    through: datetime
    commit: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Marker:
    """A row that the source committed, by its clock before `committed`; `updated_at` tells it from earlier ones."""

    table: str
    key: Key
    updated_at: datetime
    committed: datetime


class NewestRows:
    """The newest version of each key."""

    def __init__(self) -> None:
        self._newest: dict[tuple[str, Key], tuple[Position, datetime | None]] = {}

    def __len__(self) -> int:
        return len(self._newest)

    def see(self, row: Version) -> str | None:
        """Take the next version of a row; return the violation, None if there is none."""
        if row.position is None:
            return None
        at = (row.table, row.key)
        position, updated_at = self._newest.get(at, (row.position, row.updated_at))
        self._newest[at] = (row.position, row.updated_at or updated_at)
        if row.position < position:
            return f"{row.table} {row.key} went back from position {position} to {row.position}"
        if row.updated_at and updated_at and row.updated_at < updated_at:
            return f"{row.table} {row.key} went back from updated_at {updated_at} to {row.updated_at}"
        return None


Landings = Mapping[tuple[str, Key], Sequence[Version]]


def landing(marker: Marker, landings: Landings) -> Version | None:
    """Return the first commit that showed the marker, or a later change of its row; None if there is none."""
    for version in landings.get((marker.table, marker.key), ()):
        if version.updated_at is None or version.updated_at >= marker.updated_at:
            return version
    return None


def missing(markers: Iterable[Marker], landings: Landings) -> list[str]:
    """Return the markers that the source committed and reporting never showed, a line each."""
    return [
        f"{marker.table} {marker.key}, committed {marker.committed}, is missing in reporting"
        for marker in markers
        if landing(marker, landings) is None
    ]


def freshness_ahead(markers: Iterable[Marker], landings: Landings, stamps: Iterable[Stamp]) -> list[str]:
    """Return the stamps that promised a marker before it was visible, a line each. `stamps` are in order of commit."""
    farthest: dict[str, list[tuple[datetime, Stamp]]] = {}  # of each table, those that promised more than all before
    for stamp in stamps:
        promised = farthest.setdefault(stamp.table, [])
        if not promised or stamp.through > promised[-1][0]:
            promised.append((stamp.through, stamp))
    found = []
    for marker in markers:
        promised = farthest.get(marker.table, [])
        at = bisect_left(promised, marker.committed, key=lambda each: each[0])
        seen = landing(marker, landings)
        if at < len(promised) and (seen is None or seen.commit > promised[at][1].commit):
            found.append(
                f"{marker.table} was called complete through {promised[at][0]} without {marker.key}, "
                f"committed {marker.committed}"
            )
    return found
