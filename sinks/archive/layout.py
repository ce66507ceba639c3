"""Where what is archived lies: `<table>/tenant_bucket=NN/date=YYYY-MM-DD/<uuid>.avro`, as other tools partition."""

import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import UUID

from uuid_utils import uuid7

from schemas.change import Key
from schemas.tables import Table

BUCKETS = 16  # never changes: what a tenant's files are called follows from it
SUFFIX = ".avro"


class ArchiveFolder(NamedTuple):
    """The files of one table, tenant bucket and day; rows that age by month have the first of the month."""

    table: str
    bucket: int
    day: date

    def __str__(self) -> str:
        return f"{self.table}/tenant_bucket={self.bucket:02}/date={self.day}"


def bucket(tenant: str) -> int:
    """The bucket of a tenant: CRC-32 of its UTF-8, modulo the number of buckets."""
    return zlib.crc32(tenant.encode()) % BUCKETS


def new_name(folder: ArchiveFolder) -> str:
    """A name that no other file has; later ones sort behind earlier ones."""
    return f"{folder}/{uuid7()}{SUFFIX}"


def made_at(name: str) -> datetime | None:
    """When a file got its name, by the clock of whoever made it; None for a name that is none of `new_name`'s."""
    path = PurePosixPath(name)
    try:
        id_ = UUID(path.stem)
    except ValueError:
        return None
    if path.suffix != SUFFIX or str(id_) != path.stem or id_.version != 7:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=id_.int >> 80)


def identity(table: Table) -> Callable[[Key], str]:
    """What makes two records of one folder the same: a function from a key to a text without the column by which the
    table ages, which is the folder's. Capture may send an event again, at another offset: it is the same event."""
    places = [index for index, name in enumerate(table.key) if name != table.ages_by]
    if len(places) == 2:  # events: a formatted text is made in half the time
        tenant, id_ = places
        return lambda key: f"{key[tenant]}\x1f{key[id_]}"
    return lambda key: "\x1f".join([str(key[place]) for place in places])
