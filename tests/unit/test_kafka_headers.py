"""The epoch that capture stamps on every record is read strictly: a guess would let an old history win."""

import pytest

from messaging.decoding import Headers, epoch
from schemas.errors import BadRecord


def test_the_epoch_is_the_headers_number() -> None:
    assert epoch([("other", b"9"), ("headrace-epoch", b"12")]) == 12


@pytest.mark.parametrize("value", [None, b"", b"0", b"-1", b"1.0", b"one", b"\xff", "²".encode()])
def test_an_odd_epoch_is_a_bad_record(value: bytes | None) -> None:
    with pytest.raises(BadRecord, match="headrace-epoch"):
        epoch([("headrace-epoch", value)])


@pytest.mark.parametrize("headers", [None, [], [("other", b"1")]])
def test_a_missing_epoch_is_a_bad_record_that_says_who_sets_it(headers: Headers | None) -> None:
    with pytest.raises(BadRecord, match="InsertHeader"):
        epoch(headers)
