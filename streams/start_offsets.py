"""Resume partitions at their committed offsets, and check that the topics still hold the records for it.

Kafka jumps rather than fails. Where records after the committed offset were deleted, it jumps to the first one left.
Where the topic was deleted and created again, the offset means another record. Both lose lines silently.

Kafka deletes a topic's committed offsets with the topic. So the id of the lines' topic is kept in the pending topic.
The id of the pending topic, whose loss would lose the waiting lines, is stored with each committed offset.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from messaging import clients
from messaging.offsets import OffsetGone, TopicReplaced
from schemas.errors import Unavailable


class Committed(NamedTuple):
    """A committed offset, and the id of the pending topic that holds what waits below it; empty where it is unknown."""

    offset: int
    pending_id: str


def check_id(topic: str, was: str | None, is_now: str) -> None:
    """Raise TopicReplaced when the id that is known of a topic is no longer its id; None or empty: not known."""
    if was and was != is_now:
        raise TopicReplaced(topic, "what enrichment has done", was, is_now)


def start(where: str, committed: Committed | None, beginning: int, end: int) -> int:
    """Return the offset to read from: the committed one, or the beginning without one.

    `beginning` and `end` are the offsets of the first record and of the next one.

    Raises:
        OffsetGone: The topic does not hold the committed offset.
    """
    if committed is None:
        return beginning
    if not beginning <= committed.offset <= end:
        detail = f"offset {committed.offset}, the topic holds {beginning} to {end}"
        raise OffsetGone(where, f"the committed offset points at records that the topic no longer holds ({detail})")
    return committed.offset


def check_whole(where: str, beginning: int) -> None:
    """Raise OffsetGone unless a topic that must be read whole still begins at offset 0; compaction leaves it there."""
    if beginning:
        raise OffsetGone(where, f"the topic must be read whole, but begins at offset {beginning}")


class Topics:
    """The topics that a worker's state belongs to, with the ids that they had when it started."""

    def __init__(self, bootstrap: str, names: Iterable[str]) -> None:
        self._bootstrap = bootstrap
        self.ids: Mapping[str, str] = clients.topic_ids(bootstrap, names)

    def check(self) -> None:
        """Raise TopicReplaced for a topic that was made again since, TopicMissing for one that is gone.

        Brokers that do not answer say nothing about a topic.
        """
        try:
            now = clients.topic_ids(self._bootstrap, self.ids)
        except Unavailable:
            return
        for name, was in self.ids.items():
            check_id(name, was, now[name])

    def starts(self, lines: str, pending: str, committed: Mapping[int, Committed | None]) -> dict[int, int]:
        """Return the offset from which to read each partition of `lines`.

        Raises:
            TopicReplaced: A topic was deleted and created again.
            OffsetGone: A topic no longer holds a committed offset.
            Unavailable: Kafka does not answer.
        """
        assigned = {(lines, number) for number in committed}
        beginnings = clients.start_offsets(self._bootstrap, [lines], assigned)
        ends = clients.end_offsets(self._bootstrap, [lines], assigned)
        found: dict[int, int] = {}
        for number, each in committed.items():
            if each is not None:
                check_id(pending, each.pending_id, self.ids[pending])
            found[number] = start(f"{lines}/{number}", each, beginnings[lines, number], ends[lines, number])
        return found
