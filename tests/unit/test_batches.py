"""Reading starts at the right offset under a new assignment."""

import asyncio
import logging
from types import SimpleNamespace
from typing import Any

from schemas.errors import Unavailable
from streams.faust_consumer import BatchConsumer
from streams.start_offsets import Committed


def test_offsets_that_kafka_does_not_tell_are_a_warning_of_their_own(caplog):
    def starts(committed):
        raise Unavailable("leader not available")

    async def committed(*_):
        return {0: Committed(3, "id")}

    async def at_once(_seconds):
        pass

    consumer: Any = SimpleNamespace(assignment=list)
    thread = SimpleNamespace(_ensure_consumer=lambda: consumer, call_thread=committed)
    reading: Any = SimpleNamespace(
        _thread=thread, app=SimpleNamespace(starts=starts), log=logging.getLogger("reading"), sleep=at_once
    )
    assert asyncio.run(BatchConsumer._read_from_committed(reading)) is False
    ((_, level, message),) = caplog.record_tuples
    assert level == logging.WARNING
    assert "leader not available" in message and "#offsets-unknown" in message
