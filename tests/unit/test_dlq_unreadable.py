"""Dead letters and decisions that can't be read: they stay open, and end nothing."""

import sqlite3
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from messaging.dead_letters import refusal
from operations.dlq import metrics
from operations.dlq.decisions import parse_decision
from operations.dlq.open_letters import OpenLetters


def message(**headers: str) -> Any:
    own = [(f"headrace-{name.replace('_', '-')}", value.encode()) for name, value in headers.items()]
    return SimpleNamespace(
        topic=lambda: "dead", partition=lambda: 0, offset=lambda: 5, timestamp=lambda: (1, 9), headers=lambda: own
    )


@pytest.mark.parametrize("offset", ["seven", "", str(2**63)])
def test_a_letter_whose_origin_cannot_be_read_is_an_open_one_of_its_own(offset: str) -> None:
    found = refusal(message(error="BadRecord", origin_topic="shop.sales.orders", origin_offset=offset))
    assert (found.topic, found.partition, found.offset, found.timestamp) == ("dead", 0, 5, 9)
    known = OpenLetters()
    known.refused([found])
    assert known.count() == {("dead", "BadRecord"): 1}
    known.close()


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"junk",
        b"[]",
        b'{"verdict": "landed"}',
        b'{"verdict": "landed", "at": "2026-08-03T00:00:00+00:00", "topic": "t", "partition": 0, "offset": "seven", '
        b'"timestamp": 1, "through": 1, "detail": "", "by": "test"}',
    ],
)
def test_a_decision_that_cannot_be_read_decides_nothing(value: bytes) -> None:
    assert parse_decision(value) is None


def test_counting_continues_after_an_unexpected_error(monkeypatch: pytest.MonkeyPatch) -> None:
    again, begun = threading.Event(), []

    class Full:
        letters = OpenLetters()

        def __init__(self, _bootstrap: str) -> None:
            begun.append(self)

        def follow(self) -> None:
            if len(begun) == 1:
                raise sqlite3.OperationalError("database or disk is full")
            again.set()

        def close(self) -> None:
            """Nothing is open."""

    monkeypatch.setattr(metrics, "LetterFollower", Full)
    monkeypatch.setattr(metrics, "EVERY_S", 0.01)
    with metrics.update_open_gauge("nowhere"):
        assert again.wait(30), "the thread has ended"
