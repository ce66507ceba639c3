"""Open dead letters are tracked by identities alone, and bound how far their topic can be deleted."""

import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from messaging.dead_letters import DeadLetter, Record, Refusal
from operations.dlq.decisions import Decision, Verdict
from operations.dlq.letters import letters
from operations.dlq.open_letters import CACHE_KIB, OpenLetters

TOPIC = "shop.sales.orders"


@pytest.fixture
def known() -> Iterator[OpenLetters]:
    known = OpenLetters()
    yield known
    known.close()


def refusal(letter: int, offset: int = 7, error: str = "BadRecord", timestamp: int = 1) -> Refusal:
    return Refusal(topic=TOPIC, partition=0, offset=offset, timestamp=timestamp, error=error, letter=letter)


def decision(verdict: Verdict, through: int, offset: int = 7, timestamp: int = 1) -> Decision:
    return Decision(
        topic=TOPIC,
        partition=0,
        offset=offset,
        timestamp=timestamp,
        through=through,
        verdict=verdict,
        detail="",
        by="test",
        at=datetime(2026, 8, 3, tzinfo=UTC),
    )


def test_open_ones_are_counted_by_topic_and_newest_error(known: OpenLetters):
    known.refused([refusal(0), refusal(1, offset=8), refusal(2, error="Poison")])
    assert known.count() == {(TOPIC, "Poison"): 1, (TOPIC, "BadRecord"): 1}


def test_a_decision_read_before_its_letter_settles_it(known: OpenLetters):
    known.decided([(0, decision(Verdict.LANDED, through=3))])
    known.refused([refusal(3)])
    assert known.count() == {}


def test_a_record_of_a_topic_that_was_created_again_is_another_record(known: OpenLetters):
    known.refused([refusal(0), refusal(1, timestamp=2)])
    known.decided([(0, decision(Verdict.DISCARDED, through=0))])
    assert known.count().total() == 1


def test_adding_a_stretch_again_changes_nothing(known: OpenLetters):
    for _ in range(2):
        known.refused([refusal(4), refusal(5)])
    assert known.count().total() == 1
    assert known.first_needed({}) == 4


def test_what_the_topic_no_longer_holds_is_forgotten(known: OpenLetters):
    known.refused([refusal(4), refusal(5, offset=8)])
    known.drop_before(5)
    assert known.count().total() == 1


def test_a_letter_that_proves_an_event_is_needed_while_its_record_is_there(known: OpenLetters):
    known.refused([refusal(4, offset=7)])
    known.decided([(0, decision(Verdict.DISCARDED, through=4))])
    assert known.first_needed({(TOPIC, 0): 7}) == 4
    assert known.first_needed({(TOPIC, 0): 8}) is None
    assert known.first_needed({(TOPIC, 1): 0}) is None


def test_an_open_letter_is_needed_from_its_first_refusal_on(known: OpenLetters):
    known.refused([refusal(3), refusal(4, offset=8), refusal(9)])
    known.decided([(0, decision(Verdict.LANDED, through=4, offset=8))])
    assert known.first_needed({}) == 3


def test_decisions_are_needed_while_their_letter_is_there(known: OpenLetters):
    known.refused([refusal(3)])
    known.decided([(0, decision(Verdict.DISCARDED, through=2, offset=1)), (1, decision(Verdict.LANDED, through=3))])
    assert known.first_decided() == 1
    known.drop_before(4)
    assert known.first_decided() is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("refused"), st.integers(0, 2)),
        st.tuples(st.sampled_from(list(Verdict)), st.integers(0, 2)),
    ),
    max_size=20,
)


@given(STEPS)
def test_it_counts_what_the_letters_themselves_say(steps):
    refused: list[Refusal] = []
    decided: list[Decision] = []
    for number, (what, offset) in enumerate(steps):
        if isinstance(what, Verdict):
            through = max((each.letter for each in refused if each.offset == offset), default=-1)
            decided.append(decision(what, through, offset))
        else:
            refused.append(refusal(number, offset))
    known = OpenLetters()
    known.refused(refused)
    known.decided(enumerate(decided))
    said = [letter for letter in letters(map(stored, refused), decided) if letter.open]
    assert known.count().total() == len(said)
    known.close()


def stored(refusal: Refusal) -> DeadLetter:
    record = Record(
        topic=refusal.topic,
        partition=refusal.partition,
        offset=refusal.offset,
        timestamp=refusal.timestamp,
        key=None,
        value=None,
        headers=[],
    )
    return DeadLetter(record=record, error=refusal.error, message="", worker="report", offset=refusal.letter, seen=0)


def test_python_keeps_nothing_of_a_letter(known: OpenLetters):
    known.refused(refusal(number, offset=number) for number in range(1_000))
    tracemalloc.start()
    known.refused(refusal(number, offset=number) for number in range(30_000))
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert known.count().total() == 30_000
    assert kept < 100_000


GROWTH = """
import psutil
from messaging.dead_letters import Refusal
from operations.dlq.open_letters import OpenLetters

topic = "a-topic-with-a-long-name." * 10
known, process, held = OpenLetters(), psutil.Process(), []
for start in range(0, 120_000, 40_000):
    known.refused(
        Refusal(topic=topic, partition=0, offset=number, timestamp=1, error="BadRecord", letter=number)
        for number in range(start, start + 40_000)
    )
    held.append(process.memory_info().rss)
print(held[-1] - held[0])
"""


def test_memory_does_not_grow_with_the_letters():
    """SQLite's memory is not Python's to count: a process of its own tells it. The last 80,000 letters have 25 MB."""
    told = subprocess.run([sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True)
    assert int(told.stdout) < 2 * CACHE_KIB * 1024
