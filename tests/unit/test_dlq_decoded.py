"""A record's bytes, as far as they can be read."""

from decimal import Decimal

import pytest

from operations.dlq import decoded
from schemas.errors import BadRecord, Unavailable


class Knows:
    """A registry that gives `answer`, or raises it."""

    def __init__(self, answer) -> None:
        self._answer = answer

    def decode(self, _value: bytes):
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_avro_that_the_registry_knows_is_the_datum():
    assert decoded.value(b"\0\0\0\0\1x", Knows({"total": Decimal("1.50")})) == {"total": Decimal("1.50")}


@pytest.mark.parametrize("error", [BadRecord("unknown"), Unavailable("the registry does not answer")])
def test_without_the_registry_the_bytes_are_shown(error):
    assert decoded.value(b"\0\0\0\0\1x", Knows(error)) == "0x000000000178"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b'{"a": [1]}', {"a": [1]}),
        (b"not Avro", "not Avro"),
        (b"1", 1),
        (b"caf\xc3\xa9", "café"),
        (b"\xff\xfe", "0xfffe"),
        (b"\x1b[31mred", "0x1b5b33316d726564"),  # nothing that a terminal would obey
        (b"", "0x"),
        (None, None),
    ],
)
def test_other_bytes_are_json_text_or_hexadecimal(raw, shown):
    assert decoded.plain(raw) == shown


def test_what_is_shown_is_bounded():
    shown = decoded.plain(b"x" * 10_000)
    assert len(shown) < decoded.MOST + 30
    assert shown.endswith("(6,000 more)")


def test_decimals_bytes_and_the_like_become_text():
    assert decoded.compact({"a": Decimal("1.50"), "b": b"\1"}) == '{"a":"1.50","b":"0x01"}'
