"""Follow the dead-letter topic and the journal of decisions incrementally, record by record."""

from collections.abc import Iterable, Iterator

import structlog
from confluent_kafka import Message

from messaging import clients, ranges
from messaging.dead_letters import Refusal, refusal
from operations.dlq.decisions import Decision, parse_decision
from operations.dlq.open_letters import OpenLetters
from schemas.topics import DEAD_LETTERS, DECISIONS

_LOG = structlog.get_logger("headrace")


class LetterFollower:
    """Keeps the open dead letters up to date. `letters` is the state as of the last `follow`. Not thread-safe."""

    def __init__(self, bootstrap: str, *, dead: str = DEAD_LETTERS, decisions: str = DECISIONS) -> None:
        self._bootstrap, self._dead, self._decisions = bootstrap, dead, decisions
        self._ids: dict[str, str] = {}
        self._read: dict[tuple[str, int], int] = {}
        self.letters = OpenLetters()

    def follow(self) -> None:
        """Read the records added since the last call, or all of them where a topic was replaced.

        After an error the next call reads the same records again, which is idempotent.

        Raises:
            HeadraceError: a topic is missing.
            Unavailable: Kafka does not answer.
        """
        topics = [self._dead, self._decisions]
        ids = clients.topic_ids(self._bootstrap, topics)
        if ids != self._ids:
            self.letters.close()
            self.letters, self._ids, self._read = OpenLetters(), ids, {}
        starts, ends = clients.start_offsets(self._bootstrap, topics), clients.end_offsets(self._bootstrap, topics)
        self.letters.refused(map(self._refusal, self._added(self._dead, starts, ends)))
        self.letters.decided(self._readable(self._added(self._decisions, starts, ends)))
        self.letters.drop_before(min(start for (topic, _), start in starts.items() if topic == self._dead))
        self._read = ends

    def close(self) -> None:
        """Delete the state."""
        self.letters.close()

    def _refusal(self, message: Message) -> Refusal:
        found = refusal(message)
        if found.topic == self._dead:
            _LOG.warning("a dead letter does not name its record's origin; it counts as open", offset=found.letter)
        return found

    def _readable(self, messages: Iterable[Message]) -> Iterator[tuple[int, Decision]]:
        for message in messages:
            decision, at = parse_decision(message.value() or b""), int(message.offset() or 0)
            if decision is None:
                _LOG.warning("a decision can't be read; its dead letter stays open", topic=self._decisions, offset=at)
            else:
                yield at, decision

    def _added(
        self, topic: str, starts: dict[tuple[str, int], int], ends: dict[tuple[str, int], int]
    ) -> Iterator[Message]:
        wanted = {at: (max(self._read.get(at, 0), starts[at]), end) for at, end in ends.items() if at[0] == topic}
        return ranges.records(self._bootstrap, wanted, **ranges.FRUGAL)
