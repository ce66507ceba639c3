"""Follows the dead letters' topic and the journal of decisions from where it last read, record by record."""

from collections.abc import Iterator

from confluent_kafka import Message

from kafka import clients, spans
from kafka.dead_letters import refusal
from operations.dlq.decisions import parsed
from operations.dlq.open_letters import OpenLetters
from schemas.topics import DEAD_LETTERS, DECISIONS


class Follower:
    """`letters` as of the last `follow`. For one thread."""

    def __init__(self, bootstrap: str, *, dead: str = DEAD_LETTERS, decisions: str = DECISIONS) -> None:
        self._bootstrap, self._dead, self._decisions = bootstrap, dead, decisions
        self._ids: dict[str, str] = {}
        self._read: dict[tuple[str, int], int] = {}
        self.letters = OpenLetters()

    def follow(self) -> None:
        """Reads what was added since the last time; all of it where a topic was replaced.

        Raises HeadraceError where a topic is missing, Unavailable. After either, the same stretch is read again, which
        changes nothing that was added already.
        """
        topics = [self._dead, self._decisions]
        ids = clients.topic_ids(self._bootstrap, topics)
        if ids != self._ids:
            self.letters.close()
            self.letters, self._ids, self._read = OpenLetters(), ids, {}
        starts, ends = clients.start_offsets(self._bootstrap, topics), clients.end_offsets(self._bootstrap, topics)
        self.letters.refused(refusal(message) for message in self._added(self._dead, starts, ends))
        added = self._added(self._decisions, starts, ends)
        self.letters.decided((message.offset() or 0, parsed(message.value() or b"")) for message in added)
        self.letters.forget(min(start for (topic, _), start in starts.items() if topic == self._dead))
        self._read = ends

    def close(self) -> None:
        """Forgets all letters."""
        self.letters.close()

    def _added(
        self, topic: str, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> Iterator[Message]:
        wanted = {at: (max(self._read.get(at, 0), starts[at]), end) for at, end in ends.items() if at[0] == topic}
        return spans.records(self._bootstrap, wanted, **spans.FRUGAL)
