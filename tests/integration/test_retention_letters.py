"""Dead letters that are settled leave their topic, and decisions theirs; an open one is never deleted. On Kafka."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from confluent_kafka.admin import NewTopic

from messaging import clients
from messaging.dead_letters import DeadLetters, Record, stored
from messaging.delivery import ConfirmedProducer
from operations.dlq.decisions import Decision, Journal, Verdict
from operations.dlq.follower import LetterFollower
from operations.retention.dead_letters import SettledLetters, find_settled
from operations.settings import Settings
from schemas.errors import BadRecord

SOURCE = "shop.sales.orders"


class Desk:
    """A dead letters' topic, a journal and an event topic of a test's own."""

    def __init__(self, settings: Settings) -> None:
        self.bootstrap = settings.kafka.bootstrap
        name = f"test_letters_{uuid4().hex[:10]}"
        self.dead, self.decisions, self.events = f"{name}.dead", f"{name}.decisions", f"{name}.events"
        self._admin = clients.admin(self.bootstrap)
        topics = [NewTopic(topic, 1, 1) for topic in (self.dead, self.decisions, self.events)]
        for made in self._admin.create_topics(topics).values():
            made.result()
        self.journal = Journal(self.bootstrap, topic=self.decisions)

    def refuse(self, offset: int, topic: str = SOURCE) -> None:
        letters = DeadLetters(clients.producer(self.bootstrap), "report", topic=self.dead)
        record = Record(topic=topic, partition=0, offset=offset, timestamp=1, key=b"k", value=b"junk", headers=[])
        letters.send(record, BadRecord("not understood"))
        letters.confirm()

    def decide(self, offset: int, verdict: Verdict, through: int, topic: str = SOURCE) -> None:
        self.journal.write(
            Decision(
                topic=topic,
                partition=0,
                offset=offset,
                timestamp=1,
                through=through,
                verdict=verdict,
                detail="",
                by="test",
                at=datetime.now(UTC),
            )
        )

    def settled(self, letters_ms: int, decisions_ms: int) -> list[SettledLetters]:
        return find_settled(
            self.bootstrap, [self.events], letters_ms, decisions_ms, dead=self.dead, decisions=self.decisions
        )

    def delete(self, letters_ms: int, decisions_ms: int) -> dict[str, int]:
        """Delete the settled records, and return the first remaining offset by topic."""
        found = self.settled(letters_ms, decisions_ms)
        for each in found:
            clients.delete_records(self.bootstrap, (each.topic, 0), each.end)
        return {each.topic: each.end for each in found}

    def close(self) -> None:
        for gone in self._admin.delete_topics([self.dead, self.decisions, self.events]).values():
            gone.exception()


@pytest.fixture
def desk(settings: Settings) -> Iterator[Desk]:
    desk = Desk(settings)
    yield desk
    desk.close()


def later() -> int:
    """Return a time (milliseconds since 1970) after all records were written."""
    return int(time.time() * 1000) + 3_600_000


def test_settled_letters_go_up_to_the_first_open_one_and_decisions_behind_them(desk: Desk):
    for offset in range(4):
        desk.refuse(offset)
    for offset in (0, 1, 3):
        desk.decide(offset, Verdict.LANDED, through=offset)
    desk.decide(2, Verdict.DEAD_AGAIN, through=2)
    assert desk.settled(0, 0) == []  # all too young
    assert desk.delete(later(), 0) == {desk.dead: 2}
    assert [letter.record.offset for letter in stored(desk.bootstrap, topic=desk.dead)] == [2, 3]
    assert desk.delete(later(), later()) == {desk.decisions: 2}
    desk.decide(2, Verdict.DISCARDED, through=2)
    assert desk.delete(later(), later()) == {desk.dead: 4, desk.decisions: 5}


def test_a_letter_stays_while_it_proves_that_an_event_may_be_deleted(desk: Desk):
    desk.refuse(0, topic=desk.events)
    desk.decide(0, Verdict.DISCARDED, through=0, topic=desk.events)
    ConfirmedProducer(clients.producer(desk.bootstrap)).deliver(desk.events, b"k", b"junk")
    assert desk.settled(later(), later()) == []
    clients.delete_records(desk.bootstrap, (desk.events, 0), 1)
    assert desk.delete(later(), later()) == {desk.dead: 1, desk.decisions: 1}


def test_a_follower_reads_only_what_was_added_and_forgets_what_was_deleted(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    follower = LetterFollower(desk.bootstrap, dead=desk.dead, decisions=desk.decisions)
    desk.refuse(0)
    desk.refuse(1)
    follower.follow()
    assert follower.letters.count() == {(SOURCE, "BadRecord"): 2}
    read: list[int] = []
    refused = follower.letters.refused
    monkeypatch.setattr(
        follower.letters, "refused", lambda some: refused(read.append(each.letter) or each for each in some)
    )
    desk.refuse(2)
    desk.decide(0, Verdict.DISCARDED, through=0)
    follower.follow()
    assert follower.letters.count() == {(SOURCE, "BadRecord"): 2}
    assert read == [2]
    clients.delete_records(desk.bootstrap, (desk.dead, 0), 2)  # by somebody else: it can't be counted any more
    follower.follow()
    assert follower.letters.count() == {(SOURCE, "BadRecord"): 1}
    follower.close()
