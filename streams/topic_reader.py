"""Reading a topic outside the consumer group: what the catalog and the pending lines have in common."""

from confluent_kafka import Consumer, KafkaError, Message

from messaging.offsets import OffsetGone
from schemas.errors import Unavailable

_BATCH = 1_000


def read_some(reader: Consumer, timeout: float) -> tuple[list[Message], int]:
    """Return the next records and the offset read up to (0 without progress). Wait up to `timeout` s for the first.

    The consumer must have `enable.partition.eof`, so that an end made of compacted or aborted records is seen too.

    Raises:
        OffsetGone: The topic does not hold the offset.
        Unavailable: Another error that librdkafka does not retry.
    """
    first = reader.poll(timeout)
    if first is None:
        return [], 0
    good: list[Message] = []
    position = 0
    # `consume` with a timeout would wait for a full batch.
    for message in [first, *reader.consume(_BATCH, 0)]:
        error = message.error()
        offset = int(message.offset() or 0)
        if error is None:
            good.append(message)
            position = offset + 1
        elif error.code() == KafkaError._PARTITION_EOF:
            position = max(position, offset)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            detail = f"records that were to be read next are no longer there ({error.str()})"
            raise OffsetGone(f"{message.topic()}/{message.partition()}", detail)
        elif error.fatal() or error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise Unavailable(f"reading {message.topic()} failed: {error.str()}")
    return good, position
