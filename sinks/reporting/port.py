"""The contract between landing and a reporting database.

There are three adapters: memory, Postgres and SQL Server. One suite (tests/contract) runs against all of them.

The commit protocol, whose numbers the adapters' code follows, is one transaction:

0. Read the cutoffs (cutoff.py) and leave rows that have aged out of the batch. Setting a cutoff waits until this
   transaction has ended, or this transaction waits for it and sees the new cutoff.
1. Fold the changes to the newest of each key (`schemas.fold`: rounds, landed in order).
2. Load a round into a staging table typed as its target.
3. Update the rows that are at an older position (`Position.wins_over`, in SQL).
4. Insert the missing rows; of events, those that belong to no erased person.
5. Move the checkpoint of every partition whose fence this worker still holds. If one is lost, roll back: `Fenced`.

Then commit. A database may run 3 and 4 in either order. Events are inserted if absent and never updated. landing.py
runs the steps for both SQL databases.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from messaging.offsets import TopicReplaced
from schemas.change import Change, Key
from schemas.errors import HeadraceError, Unavailable
from schemas.position import Position
from schemas.tables import Table
from sinks.errors import Fatal as Fatal  # noqa: PLC0414  # part of the port


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The progress of a partition.

    `next_offset` is the first offset that has not landed. `fence` counts the claims: only the holder of the last claim
    may move the checkpoint. `topic_id` is the id of the topic that the offsets belong to.
    """

    topic_id: str
    next_offset: int
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes in the order of their offsets, and the checkpoints of their partitions after them.

    `checkpoints` hold the holder's fence and the new `next_offset`.
    """

    changes: Sequence[Change]
    checkpoints: Mapping[Partition, Checkpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """The result of a batch.

    `folded` rows were staged, and `written` of them changed the table. The others were repeats, or older than the
    present rows. `refused` changes had aged out: they were not staged, and the checkpoint passes them.
    """

    folded: int
    written: int
    refused: int = 0

    def __add__(self, other: "Landed") -> "Landed":
        return Landed(
            folded=self.folded + other.folded,
            written=self.written + other.written,
            refused=self.refused + other.refused,
        )


class Reporting(Protocol):
    """One generation of reporting. Not safe for several threads at once. A lost connection is opened again."""

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        """Claim a partition: raise its fence, so that an earlier holder can't commit, and return its checkpoint.

        A partition without a checkpoint gets one at `beginning`, the first offset of its log.

        Raises:
            TopicReplaced: The checkpoint belongs to another topic id. Nothing was changed.
            Transient: A retry may help.
            Fatal: A retry doesn't help.
        """

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        """Return the committed checkpoint, or None without one. Raises Transient, Fatal."""

    def land(self, batch: Batch) -> Landed:
        """Land a batch and move the checkpoints, or change nothing. Landing a batch again changes no row.

        After Transient the outcome of the commit is unknown. Land the batch again: that changes no row, and step 5
        checks that the fence is still held.

        Raises:
            Fenced: Another worker has claimed one of the partitions.
            Poison: The database refuses a value.
            Transient: A retry may help.
            Fatal: A retry doesn't help.
        """

    def position_of(self, table: Table, key: Key) -> Position | None:
        """Return the committed position of a key's row, deleted or not, or None without a row.

        Events have no position: an existing one is at (0, 0). Raises Transient, Fatal.
        """

    def epochs(self) -> frozenset[int]:
        """Return the committed epochs of this database: the raised ones, and the first one.

        A record of another epoch was not captured by this pipeline. Raises Transient, Fatal.
        """

    def close(self) -> None:
        """Close the connection."""


class Fenced(HeadraceError):
    """Another worker has taken over a partition; nothing of the batch was landed. See docs/runbook.md#fenced."""


class Poison(HeadraceError):
    """The database refuses a value of the batch: retrying would refuse it again. Bisect, and dead-letter the row."""

    entry = "value-refused"


class Transient(Unavailable):
    """A deadlock, a timeout, a lost connection: worth another try from the start of the batch."""


class Duplicate(Transient):
    """The primary key refused a row: another worker inserted it first. If that happens again, the row itself is bad."""


def fenced(partitions: Sequence[Partition]) -> Fenced:
    """Return the error for a batch whose `partitions` another worker has claimed."""
    names = ", ".join(f"{each.topic}/{each.number}" for each in partitions)
    return Fenced(f"another worker has claimed {names}; its batch was rolled back. See docs/runbook.md#fenced")


def topic_replaced(partition: Partition, was: str, is_now: str) -> TopicReplaced:
    """Return the error for a partition whose checkpoint belongs to topic id `was`."""
    return TopicReplaced(f"{partition.topic}/{partition.number}", "the checkpoint", was, is_now)
