"""What landing asks of a reporting database. Three adapters keep this contract, proven by one suite
(tests/contract): memory, Postgres and SQL Server.

The commit protocol, which the adapters' code follows by these numbers, all in one transaction:

0. read what has aged out (cutoff.py) and leave it out of the batch; whoever sets a cutoff waits until this
   transaction has ended, or this one waits for it and sees the new one
1. fold the changes to the newest of each key (`schemas.fold`: rounds, landed in order)
2. load a round into a staging table typed as its target
3. update the rows that stand at an older position (`Position.wins_over`, in SQL)
4. insert the rows that are not there yet; of events, those that belong to no erased person
5. move the checkpoint of every partition, where the fence is still ours; else roll back: `Fenced`

Then commit. A database may serialize 3 and 4 in either order; events are inserted if absent and never updated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from messaging.offsets import TopicReplaced
from schemas.change import Change, Key
from schemas.errors import HeadraceError, Unavailable
from schemas.position import Position
from schemas.tables import Table


class Partition(NamedTuple):
    """One partition of one topic."""

    topic: str
    number: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """How far a partition has landed: `next_offset` is the first offset that has not. `fence` counts the claims;
    only the last claim's holder may move the checkpoint. `topic_id` is the id of the topic the offsets belong to."""

    topic_id: str
    next_offset: int
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Changes in the order of their offsets, and where the checkpoint of each of their partitions stands after them:
    `checkpoints` hold the holder's fence and the new `next_offset`."""

    changes: Sequence[Change]
    checkpoints: Mapping[Partition, Checkpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class Landed:
    """What a batch came to: `folded` rows were staged, `written` of them changed the table. The others were
    repeats, or older than what is there. `refused` changes had aged out: they were not staged, and the
    checkpoint passes them."""

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
    """One generation of reporting. Not for use by several threads at once; a lost connection is made anew."""

    def claim(self, partition: Partition, topic_id: str, beginning: int) -> Checkpoint:
        """Takes a partition over: raises its fence, so that an earlier holder can commit nothing more, and returns
        where to read on. A partition without a checkpoint gets one at `beginning`, the first offset of its log.

        Raises TopicReplaced, and changes nothing, when the checkpoint belongs to another topic id; Transient; Fatal.
        """

    def checkpoint(self, partition: Partition) -> Checkpoint | None:
        """The checkpoint as it is committed now; None where there is none. Raises Transient, Fatal."""

    def land(self, batch: Batch) -> Landed:
        """Lands a batch and moves the checkpoints, or does nothing at all. Landing a batch again changes no row.

        Raises Fenced when another worker has claimed one of its partitions, Poison when the database refuses a value,
        Transient when it is worth another try, Fatal when it is not. After Transient nobody knows whether the commit
        came through, and nobody has to: landing again changes no row, and step 5 tells whether it is still ours to do.
        """

    def standing(self, table: Table, key: Key) -> Position | None:
        """Where the row of a key stands as it is committed now, deleted or not; None where there is none. Events have
        no position: one that is there stands at (0, 0). Raises Transient, Fatal."""

    def epochs(self) -> frozenset[int]:
        """The epochs that this database knows as committed now: those that were raised, and the first one. A record of
        another one was not captured by this pipeline. Raises Transient, Fatal."""

    def close(self) -> None:
        """Closes the connection."""


class Fenced(HeadraceError):
    """Another worker has taken over a partition; nothing of the batch was landed. See docs/runbook.md#fenced."""


class Poison(HeadraceError):
    """The database refuses a value of the batch: retrying would refuse it again. Bisect, and dead-letter the row."""

    entry = "value-refused"


class Transient(Unavailable):
    """A deadlock, a timeout, a lost connection: worth another try from the start of the batch."""


class Fatal(HeadraceError):
    """Login, permission or schema: only an operator can help."""


def fenced(partitions: Sequence[Partition]) -> Fenced:
    """The error for a batch of `partitions` that another worker has claimed."""
    names = ", ".join(f"{each.topic}/{each.number}" for each in partitions)
    return Fenced(f"another worker has claimed {names}; its batch was rolled back. See docs/runbook.md#fenced")


def topic_replaced(partition: Partition, was: str, is_now: str) -> TopicReplaced:
    """The error for a partition whose checkpoint belongs to topic id `was`."""
    return TopicReplaced(f"{partition.topic}/{partition.number}", "the checkpoint", was, is_now)
