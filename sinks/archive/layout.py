"""Where what is archived lies: `<table>/tenant_bucket=NN/date=YYYY-MM-DD/<uuid>.avro`, as other tools partition."""

import zlib
from collections.abc import Callable
from datetime import date
from hashlib import blake2b
from typing import NamedTuple

from uuid_utils import uuid7

from schemas.change import Key
from schemas.tables import Table

BUCKETS = 16  # never changes: what a tenant's files are called follows from it
SUFFIX = ".avro"


class Folder(NamedTuple):
    """The files of one table, tenant bucket and day; rows that age by month have the first of the month."""

    table: str
    bucket: int
    day: date

    def __str__(self) -> str:
        return f"{self.table}/tenant_bucket={self.bucket:02}/date={self.day}"


def bucket(tenant: str) -> int:
    """The bucket of a tenant: CRC-32 of its UTF-8, modulo the number of buckets."""
    return zlib.crc32(tenant.encode()) % BUCKETS


def new_name(folder: Folder) -> str:
    """A name that no other file has; later ones sort behind earlier ones."""
    return f"{folder}/{uuid7()}{SUFFIX}"


def identity(table: Table) -> Callable[[Key], bytes]:
    """What makes two records of one folder the same: a function from a key to 16 bytes of its hash, as keys themselves
    take more room. The column by which a table ages is the folder's, so it is left out.

    Capture may send an event again, at another offset: it is the same event.
    """
    places = [index for index, name in enumerate(table.key) if name != table.ages_by]

    def of(key: Key) -> bytes:
        return blake2b("\x1f".join([str(key[place]) for place in places]).encode(), digest_size=16).digest()

    return of
