"""Dead letters grouped, selected and decided on: no Kafka here."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from messaging.dead_letters import DeadLetter, Record
from operations.dlq.decisions import Decision, Verdict, parse_decision
from operations.dlq.letters import Letter, LetterSelection, groups, has_key, letters, reason

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = b'{"tenant_id":"t-1","order_id":"o-1"}'


def record(offset: int, topic: str = "shop.sales.orders", *, timestamp: int = 5) -> Record:
    return Record(topic=topic, partition=1, offset=offset, timestamp=timestamp, key=KEY, value=b"x", headers=[])


def refusal(
    number: int,
    of: Record,
    message: str = "total: expected at most 4 decimal places, got 1.00001",
    worker: str = "report",
) -> DeadLetter:
    """Return the dead letter at offset `number`, written that many minutes after noon."""
    seen = int((NOON + timedelta(minutes=number)).timestamp() * 1000)
    return DeadLetter(record=of, error="BadRecord", message=message, worker=worker, offset=number, seen=seen)


def decided(of: Record, through: int, verdict: Verdict) -> Decision:
    return Decision(
        topic=of.topic, partition=of.partition, offset=of.offset, timestamp=of.timestamp, through=through,
        verdict=verdict, detail="", by="ann", at=NOON,
    )  # fmt: skip


def test_one_record_is_one_letter_however_often_it_was_refused():
    found = letters([refusal(0, record(7)), refusal(1, record(8)), refusal(2, record(7), worker="archive")], [])
    assert [(each.origin, len(each.refusals)) for each in found] == [
        ("shop.sales.orders[1]@7", 2),
        ("shop.sales.orders[1]@8", 1),
    ]


def test_a_record_of_a_topic_that_was_created_again_is_another_record():
    found = letters(
        [refusal(0, record(7)), refusal(1, record(7, timestamp=6))], [decided(record(7), 0, Verdict.LANDED)]
    )
    assert [each.open for each in found] == [False, True]


@pytest.mark.parametrize(("verdict", "is_open"), [(each, not each.closes) for each in Verdict])
def test_a_letter_is_open_until_something_final_is_decided(verdict, is_open):
    (letter,) = letters([refusal(0, record(7))], [decided(record(7), 0, verdict)])
    assert letter.open is is_open


def test_undecided_and_dead_again_are_what_is_not_final():
    assert {each for each in Verdict if not each.closes} == {Verdict.UNDECIDED, Verdict.DEAD_AGAIN}


def test_a_redriven_record_that_is_refused_again_is_open_for_that_worker():
    refusals = [refusal(0, record(7)), refusal(1, record(7), worker="archive")]
    (letter,) = letters(refusals, [decided(record(7), 0, Verdict.LANDED)])
    assert letter.open
    assert [each.worker for each in letter.unsettled] == ["archive"]


def test_what_was_discarded_stays_so_when_a_rebuild_refuses_it_again():
    (letter,) = letters([refusal(0, record(7)), refusal(9, record(7))], [decided(record(7), 0, Verdict.DISCARDED)])
    assert not letter.open


def test_the_last_decision_counts():
    decisions = [decided(record(7), 0, Verdict.DISCARDED), decided(record(7), 0, Verdict.DEAD_AGAIN)]
    (letter,) = letters([refusal(0, record(7))], decisions)
    assert letter.open


def test_letters_that_differ_in_their_values_are_one_group():
    found = letters(
        [
            refusal(0, record(7), "total: expected at most 4 decimal places, got 1.00001"),
            refusal(5, record(8), "total: expected at most 4 decimal places, got 22.123456"),
            refusal(2, record(9, "shop.sales.payments"), "total: expected at most 4 decimal places, got 1.00001"),
        ],
        [decided(record(7), 0, Verdict.LANDED)],
    )
    (orders, payments) = groups(found)
    assert (orders.records, orders.open, orders.newest) == (2, 1, "shop.sales.orders[1]@8")
    assert (orders.first_seen, orders.last_seen) == (NOON, NOON + timedelta(minutes=5))
    assert payments.topic == "shop.sales.payments"
    assert orders.name != payments.name
    assert orders.name == found[0].group == found[1].group


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("key: expected a JSON object, got b'a\\'b'", "key: expected a JSON object, got b'c'", True),
        ("Confluent's wire format, got 'ab'", "Confluent's wire format, got 'cd'", True),
        ("Confluent's wire format, got 'ab'", "Debezium's wire format, got 'ab'", False),
        ("schema 7 is unknown to the registry", "schema 12 is unknown to the registry", True),
        ('violates check constraint "a"; DETAIL: row (1, x)', 'violates check constraint "a"; DETAIL: row (2)', True),
        ('violates check constraint "a"', 'violates check constraint "b"', False),
        ("status: expected a value, got null", "total: expected a value, got null", False),
    ],
)
def test_what_makes_two_messages_of_one_kind(one, other, same):
    assert (reason(one) == reason(other)) is same


LETTER = Letter(refusals=[refusal(3, record(7))], decision=None)


@pytest.mark.parametrize(
    ("selection", "selected"),
    [
        (LetterSelection(), True),
        (LetterSelection(target=LETTER.group), True),
        (LetterSelection(target="shop.sales.orders[1]@7"), True),
        (LetterSelection(target="shop.sales.orders[1]@77"), False),
        (LetterSelection(error="decimal places"), True),
        (LetterSelection(error="badrecord: TOTAL"), True),
        (LetterSelection(error="poison"), False),
        (LetterSelection(key="order_id=o-1"), True),
        (LetterSelection(key="order_id=o-"), False),
        (LetterSelection(key=KEY.decode()), True),
        (LetterSelection(topic="shop.sales.orders"), True),
        (LetterSelection(topic="shop.sales"), False),
        (LetterSelection(since=NOON + timedelta(minutes=3)), True),
        (LetterSelection(since=NOON + timedelta(minutes=4)), False),
        (LetterSelection(until=NOON + timedelta(minutes=3)), False),
        (LetterSelection(until=NOON + timedelta(minutes=4)), True),
        (LetterSelection(topic="shop.sales.orders", error="poison"), False),
    ],
)
def test_selecting(selection, selected):
    assert selection.matches(LETTER) is selected


def test_what_is_decided_is_selected_only_when_asked_for():
    closed = Letter(refusals=LETTER.refusals, decision=decided(record(7), 3, Verdict.LANDED))
    assert not LetterSelection().matches(closed)
    assert LetterSelection(settled=True).matches(closed)


def test_an_events_key_is_plain_text():
    assert has_key(b"order-1", "order-1")
    assert not has_key(b"order-1", "order-")
    assert not has_key(None, "order-1")


def test_a_decision_reads_back_as_it_was_written():
    import orjson

    written = replace(decided(record(7), 3, Verdict.AGED_OUT), detail="too old")
    assert parse_decision(orjson.dumps(written)) == written
