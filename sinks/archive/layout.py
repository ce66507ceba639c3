"""The archive's layout: `<table>/tenant_bucket=NN/date=YYYY-MM-DD/<uuid>.avro`, partitioned as Hive does."""

import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePosixPath
from typing import NamedTuple
from uuid import UUID

from uuid_utils import uuid7

from schemas.change import Key
from schemas.tables import Table

BUCKETS = 16  # never changes: it determines the names of a tenant's files
SUFFIX = ".avro"


class ArchiveFolder(NamedTuple):
    """The folder of one table, tenant bucket and day; for rows that age by month, the first day of the month."""

    table: str
    bucket: int
    day: date

    def __str__(self) -> str:
        return f"{self.table}/tenant_bucket={self.bucket:02}/date={self.day}"


def bucket(tenant: str) -> int:
    """Return the bucket of a tenant: CRC-32 of its UTF-8 bytes, modulo BUCKETS."""
    return zlib.crc32(tenant.encode()) % BUCKETS


def new_name(folder: ArchiveFolder) -> str:
    """Return a new unique file name; later names sort after earlier ones."""
    return f"{folder}/{uuid7()}{SUFFIX}"


def made_at(name: str) -> datetime | None:
    """Return when a file was named, by its writer's clock; None for a name that `new_name` has not made."""
    path = PurePosixPath(name)
    try:
        id_ = UUID(path.stem)
    except ValueError:
        return None
    if path.suffix != SUFFIX or str(id_) != path.stem or id_.version != 7:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=id_.int >> 80)


def identity(table: Table) -> Callable[[Key], str]:
    """Return a function from a record's key to its identity within a folder.

    The identity leaves out the column by which the table ages, which all records of a folder share. An event that
    capture sends again, at another offset, has the same identity.
    """
    places = [index for index, name in enumerate(table.key) if name != table.ages_by]
    if len(places) == 2:  # events: formatting takes half the time of joining
        tenant, id_ = places
        return lambda key: f"{key[tenant]}\x1f{key[id_]}"
    return lambda key: "\x1f".join([str(key[place]) for place in places])
