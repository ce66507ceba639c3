"""Where a partition is read on from: its committed offset, and whether the topics still hold what belongs to it.

Kafka would rather jump than fail: to the first record left, where those behind the committed offset were deleted; to
an offset that means another record, where the topic was deleted and made again. Both lose lines silently.

Kafka forgets a topic's committed offsets when the topic is deleted. So the id of the lines' topic is kept in the
pending topic, and that of the pending topic, whose loss would lose the lines that wait, beside each committed offset.
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
    """The offset to read from: what is committed, or the beginning where nothing is.

    `beginning` and `end` are the offsets of the first record and of the next one. Raises OffsetGone.
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
        """The offset from which each partition of `lines` is read. Raises TopicReplaced, OffsetGone, Unavailable."""
        assigned = {(lines, number) for number in committed}
        beginnings = clients.start_offsets(self._bootstrap, [lines], assigned)
        ends = clients.end_offsets(self._bootstrap, [lines], assigned)
        found: dict[int, int] = {}
        for number, each in committed.items():
            if each is not None:
                check_id(pending, each.pending_id, self.ids[pending])
            found[number] = start(f"{lines}/{number}", each, beginnings[lines, number], ends[lines, number])
        return found
