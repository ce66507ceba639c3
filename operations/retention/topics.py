"""Delete records of event topics up to what the archive is proven to hold. Kafka never expires them by time."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from confluent_kafka import Message

from messaging import clients, dead_letters, ranges
from messaging.dead_letters import record
from messaging.decoding import Decoding
from operations.retention.proof import ArchiveProof, ProvenEvent
from schemas.errors import BadRecord
from schemas.tables import Table
from schemas.topics import DEAD_LETTERS

AT_ONCE = 200_000  # records that are proven together: each range reads the files of its days
_At = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgedRange:
    """Expired records of one partition, from `start` to before `old`.

    Records before `proven` are proven. `missing` describes records that are not; it is empty where `proven` is `old`.
    """

    topic: str
    partition: int
    start: int
    old: int
    proven: int
    missing: list[str]


class EventTopics:
    """The topics of one table of events. An undecodable record is proven by its dead letter in `dead_topic`."""

    def __init__(
        self, bootstrap: str, table: Table, decoding: Decoding, proof: ArchiveProof, *, dead_topic: str = DEAD_LETTERS
    ) -> None:
        self._bootstrap, self._dead_topic = bootstrap, dead_topic
        self._table = table
        self._decoding, self._proof = decoding, proof
        self._dead: set[tuple[str, int, int]] | None = None

    def aged_ranges(self, before_ms: int, done: Mapping[_At, int]) -> list[AgedRange]:
        """Return the expired records of each partition, proven record by record.

        `before_ms` is the time of capture before which records are expired, in milliseconds since 1970. `done` has the
        first offset that a consumer still needs, by (topic, partition).
        """
        topics = self._table.captured_topics
        starts = clients.start_offsets(self._bootstrap, topics)
        young = clients.offsets_at(self._bootstrap, topics, before_ms)
        limits = {at: min(young[at], done.get(at, 0)) for at in starts}
        return [self._prove(at, start, limits[at]) for at, start in sorted(starts.items()) if start < limits[at]]

    def delete(self, aged: AgedRange) -> None:
        """Delete the proven records of a range. Raises Unavailable."""
        clients.delete_records(self._bootstrap, (aged.topic, aged.partition), aged.proven)

    def _prove(self, at: _At, start: int, old: int) -> AgedRange:
        proven = start
        while proven < old:
            end = min(old, proven + AT_ONCE)
            missing = self._missing(at, proven, end)
            if missing:
                first = min(missing)
                said = [missing[offset] for offset in sorted(missing)]
                return AgedRange(topic=at[0], partition=at[1], start=start, old=old, proven=first, missing=said)
            proven = end
        return AgedRange(topic=at[0], partition=at[1], start=start, old=old, proven=old, missing=[])

    def _missing(self, at: _At, start: int, end: int) -> dict[int, str]:
        """Return the records that the archive lacks, as a description by offset."""
        events: dict[ProvenEvent, int] = {}
        lacking: dict[int, str] = {}
        for message in ranges.records(self._bootstrap, {at: (start, end)}):
            came = record(message)
            try:
                event = self._event(message)
            except BadRecord as error:
                if came.origin not in self._dead_letters():
                    lacking[came.offset] = f"{at[0]}/{at[1]}@{came.offset}: {error}, and no dead letter holds it"
                continue
            if event is not None:
                events.setdefault(event, came.offset)
        for event in self._proof.missing(self._table, set(events)):
            lacking[events[event]] = str(event)
        return lacking

    def _event(self, message: Message) -> ProvenEvent | None:
        came = record(message)
        change = self._decoding.change(came.topic, came.key, came.value, came.headers, came.offset)
        if change is None:
            return None
        tenant, day, id_ = change.key
        assert isinstance(day, date)  # noqa: S101  # events are keyed by tenant, day and id
        return ProvenEvent(str(tenant), day, str(id_))

    def _dead_letters(self) -> set[tuple[str, int, int]]:
        if self._dead is None:
            refused = map(dead_letters.refusal, ranges.everything(self._bootstrap, self._dead_topic))
            ours = self._table.captured_topics
            self._dead = {(each.topic, each.partition, each.offset) for each in refused if each.topic in ours}
        return self._dead
