"""Send records to Kafka and wait until all replicas have stored them. No other module of the product calls `produce`.

A record that is only queued is lost when its process dies, so nothing may be acknowledged before its records are
confirmed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from messaging import clients
from schemas.errors import Unavailable

CONFIRM_S = 30.0  # that the replicas have to store a record
_SERVE_EVERY = 1_000  # records between two rounds of callbacks while many are sent
_FULL_S = 0.05  # between two attempts while the queue is full
_STEP_S = 0.001  # between two looks at the confirmations, in an event loop

Headers = Sequence[tuple[str, str | bytes | None]]


class NotStored(Unavailable):
    """Kafka did not confirm a record in time. It may have been stored all the same, so sending it again repeats it."""


class ConfirmedProducer:
    """Sends records, and reports when all replicas have stored them. For one thread.

    Several may share one `producer`: each counts its own records. A failed delivery is remembered: every later call
    raises, so that nothing behind a lost record is acknowledged.

    Args:
        producer: A producer of `clients.producer`, which asks all replicas for a confirmation.
        patience: Seconds that Kafka has to make room in the queue, and again to confirm what was sent.
        noun: The name of a record in error messages.
        hint: The end of error messages, such as a reference to the runbook.
    """

    def __init__(
        self, producer: Producer, *, patience: float = CONFIRM_S, noun: str = "record", hint: str = ""
    ) -> None:
        self._producer = producer
        self._patience, self._noun, self._hint = patience, noun, hint
        self._unconfirmed = 0
        self._topic = ""
        self._failure: str | None = None

    def send(  # noqa: PLR0913  # the parts of a record
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        headers: Headers = (),
        partition: int = -1,
        *,
        on_stored: Callable[[], None] | None = None,
    ) -> None:
        """Queue one record. It is not stored before `confirm` has returned.

        `partition` -1 leaves the choice to the partitioner. `on_stored` is called, from within a later call, once the
        record is confirmed.

        Raises:
            NotStored: The queue stayed full, or an earlier record was not stored.
        """
        callback = self._delivered if on_stored is None else partial(self._delivered, on_stored=on_stored)
        self._topic = topic
        waited_until = 0.0
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=callback, headers=list(headers))
                break
            except BufferError:
                waited_until = waited_until or time.monotonic() + self._patience
                self._producer.poll(_FULL_S)
                self._check()
                if time.monotonic() > waited_until:
                    raise self._error("the send queue stays full") from None
            except KafkaException as error:
                raise self._error(clients.error_text(error)) from None
        self._unconfirmed += 1
        if self._unconfirmed % _SERVE_EVERY == 0:
            self._producer.poll(0)
            self._check()

    def confirm(self) -> None:
        """Return when everything sent is stored by all replicas. It blocks; coroutines await `confirmed`.

        Raises:
            NotStored: A record was not confirmed in time.
        """
        if self._unconfirmed and self._failure is None:
            self._producer.flush(self._patience)
        self._check()
        if self._unconfirmed:
            raise self._late()

    async def confirmed(self) -> None:
        """Return when everything sent is stored by all replicas, without blocking the event loop.

        Raises:
            NotStored: A record was not confirmed in time.
        """
        deadline = time.monotonic() + self._patience
        while True:
            self._producer.poll(0)
            self._check()
            if not self._unconfirmed:
                return
            if time.monotonic() > deadline:
                raise self._late()
            await asyncio.sleep(_STEP_S)

    def deliver(  # the parts of a record
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = (), partition: int = -1
    ) -> None:
        """Send one record, and return when all replicas have stored it. Raises as `confirm` does."""
        self.send(topic, key, value, headers, partition)
        self.confirm()

    def _delivered(
        self, failure: KafkaError | None, message: Message, *, on_stored: Callable[[], None] | None = None
    ) -> None:
        self._unconfirmed -= 1
        if failure is not None:
            self._topic, self._failure = str(message.topic()), failure.str()
        elif on_stored is not None:
            on_stored()

    def _check(self) -> None:
        if self._failure is not None:
            raise self._error(self._failure)

    def _late(self) -> NotStored:
        return self._error(f"{self._unconfirmed} not confirmed within {self._patience:.0f} s")

    def _error(self, reason: str) -> NotStored:
        return NotStored(f"a {self._noun} was not stored in {self._topic}: {reason}{self._hint}")
