"""Confluent's wire format: a zero byte, the schema's id in four bytes, then the Avro body.

https://docs.confluent.io/platform/current/schema-registry/fundamentals/serdes-develop/index.html#wire-format
"""

import struct

from schemas.errors import BadRecord

HEADER_SIZE = 5
EPOCH_HEADER = "headrace-epoch"


def schema_id(value: bytes) -> int:
    """Return the id of the schema that `value` was written with.

    Raises:
        BadRecord: The value is not in the wire format.
    """
    if len(value) < HEADER_SIZE or value[0] != 0:
        raise BadRecord(
            f"expected Avro in Confluent's wire format (0x00 and a schema id), got {len(value)} bytes that are not",
            entry="foreign-record",
        )
    return int(struct.unpack_from(">I", value, 1)[0])


def frame(id_: int) -> bytes:
    """Return the header of an Avro body written with schema `id_`."""
    return struct.pack(">bI", 0, id_)
